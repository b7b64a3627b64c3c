"""What is learned from a label config, and what is said about the rest."""

import pytest

from model.targets.schema import MultiLabel, Number, Paths, SingleLabel
from studio.config import parse_label_config
from studio.controls import known_tags

IMAGE = '<Image name="image" value="$picture"/>'
AB = '<Choice value="a"/><Choice value="b"/>'


def view(*tags: str) -> str:
    return "<View>" + "".join(tags) + "</View>"


def test_single_choices_on_an_image_are_learned() -> None:
    config = parse_label_config(view(IMAGE, f'<Choices name="kind" toName="image">{AB}</Choices>'))
    assert config.reason is None
    assert config.skipped == ()
    (control,) = config.controls
    assert (control.name, control.to_name, control.image_value) == ("kind", "image", "$picture")
    assert control.schema == SingleLabel(("a", "b"))


def test_an_alias_replaces_the_value_and_the_order_is_the_configs() -> None:
    choices = '<Choice value="Zebra" alias="z"/><Choice value="Ape"/><Choice value="Mülltonne"/>'
    config = parse_label_config(
        view(IMAGE, f'<Choices name="kind" toName="image">{choices}</Choices>')
    )
    assert config.controls[0].schema.classes == ("z", "Ape", "Mülltonne")


def test_choices_may_be_wrapped_and_the_config_may_be_odd() -> None:
    config = parse_label_config(
        '<?xml version="1.0" encoding="utf-8"?><!-- a comment -->'
        + view(
            "<Style>.x { color: red }</Style><!-- another -->",
            '<Header value="What is it?"/>',
            IMAGE,
            '<Choices name="kind" toName="image" choice="single-radio" showInline="true" '
            'visibleWhen="region-selected" required="true" unknownAttribute="1">'
            f'<View><Header value="x"/>{AB}</View></Choices>',
            "<UnknownTag/>",
        )
    )
    assert config.controls[0].schema.classes == ("a", "b")


def test_several_choices_are_several_controls() -> None:
    config = parse_label_config(
        view(
            IMAGE,
            '<Image name="again" value="$picture"/>',
            f'<Choices name="one" toName="image">{AB}</Choices>',
            f'<Choices name="two" toName="again">{AB}</Choices>',
        )
    )
    assert [(c.name, c.to_name) for c in config.controls] == [("one", "image"), ("two", "again")]
    assert config.control("two") is config.controls[1]
    assert config.control("three") is None
    assert config.images({"picture": "/a.jpg"}) == ("/a.jpg",)


def test_only_one_image_of_a_task_is_learned() -> None:
    config = parse_label_config(
        view(
            IMAGE,
            '<Image name="other" value="$other"/>',
            f'<Choices name="one" toName="image">{AB}</Choices>',
            f'<Choices name="two" toName="other">{AB}</Choices>',
        )
    )
    assert [control.name for control in config.controls] == ["one"]
    assert "another image of the task than 'one'" in str(config.skipped[0])


SEVERAL = '<Image name="image" valueList="$pictures"/>'
EACH = f'<Choices name="each" toName="image" perItem="true">{AB}</Choices>'
ALL = '<Rating name="all" toName="image"/>'


def test_of_several_images_each_and_all_together_are_learned() -> None:
    config = parse_label_config(view(SEVERAL, EACH, ALL))
    assert (config.reason, config.skipped, config.multi_image) == (None, (), True)
    assert [control.name for control in config.controls] == ["each", "all"]
    assert [control.name for control in config.at(whole=False).controls] == ["each"]
    assert [control.name for control in config.at(whole=True).controls] == ["all"]


def test_one_image_may_be_asked_about_as_an_item() -> None:
    config = parse_label_config(view(IMAGE, EACH))
    assert (config.reason, config.multi_image) == (None, False)
    assert config.at(whole=False) is config.at(whole=True) is config
    assert config.images({"picture": "/a.jpg"}) == ("/a.jpg",)


def test_a_list_of_images_goes_before_one_image_as_in_the_editor() -> None:
    both = '<Image name="image" value="$picture" valueList="$pictures"/>'
    config = parse_label_config(view(both, EACH))
    assert config.images({"picture": "/a.jpg", "pictures": ["/b.jpg"]}) == ("/b.jpg",)


@pytest.mark.parametrize(
    ("pictures", "uris"),
    [
        (["/a.jpg", "/b.jpg"], ("/a.jpg", "/b.jpg")),
        (["/a.jpg", None, " ", 7, {"url": "/x"}, "/f.jpg"], ("/a.jpg", *[None] * 4, "/f.jpg")),
        ("/a.jpg", ("/a.jpg",)),  # the editor shows it
        ([], (None,)),
        (None, (None,)),
        ({"0": "/a.jpg"}, (None,)),
        (["/a.jpg"] * 5000, ("/a.jpg",) * 1000),
    ],
)
def test_which_images_a_task_shows(pictures: object, uris: tuple[str | None, ...]) -> None:
    config = parse_label_config(view(SEVERAL, EACH))
    assert config.images({"pictures": pictures}) == uris
    assert config.images({}) == (None,)


def test_a_list_and_a_single_image_of_one_name_are_not_the_same() -> None:
    single = '<Image name="single" value="$pictures"/>'
    config = parse_label_config(view(SEVERAL, single, EACH, ALL.replace('"image"', '"single"')))
    assert [control.name for control in config.controls] == ["each"]
    assert "another image of the task than 'each'" in str(config.skipped[0])


TREE = (
    '<Choice value="animal" alias="a"><Choice value="cat"/><Choice value="dog"/></Choice>'
    '<Choice value="thing"/>'
)
NODES = (("a",), ("a", "cat"), ("a", "dog"), ("thing",))


@pytest.mark.parametrize(
    ("tag", "schema"),
    [
        (f'<Choices {{}} choice="multiple">{AB}</Choices>', MultiLabel(("a", "b"))),
        (f"<Choices {{}}>{TREE}</Choices>", SingleLabel(("a", "thing"))),
        (f'<Choices {{}} allowNested="true">{TREE}</Choices>', Paths(NODES, False, True)),
        (
            f'<Choices {{}} allowNested="true" choice="multiple">{TREE}</Choices>',
            Paths(NODES, True, True),
        ),
        ('<Choices {} value="$options"/>', SingleLabel((), open=True)),
        (f'<Choices {{}} value="$options2">{AB}</Choices>', SingleLabel(("a", "b"), open=True)),
        (f"<Taxonomy {{}}>{TREE}</Taxonomy>", Paths(NODES, True)),
        (f'<Taxonomy {{}} maxUsages="1">{TREE}</Taxonomy>', Paths(NODES, False)),
        (f'<Taxonomy {{}} leafsOnly="true">{TREE}</Taxonomy>', Paths(NODES, True, True)),
        ('<Taxonomy {} apiUrl="http://x/"/>', Paths((), True, open=True)),
        ("<Rating {}/>", Number(1, 5, 1)),
        ('<Rating {} maxRating="10"/>', Number(1, 10, 1)),
        ("<Number {}/>", Number()),
        ('<Number {} min="-1" max="2.5" step="0.5"/>', Number(-1, 2.5, 0.5)),
    ],
)
def test_what_a_tag_asks_for(tag: str, schema: object) -> None:
    config = parse_label_config(view(IMAGE, tag.format('name="k" toName="image"')))
    assert config.skipped == ()
    assert config.controls[0].schema == schema


def test_leaves_of_one_name_in_two_branches_are_two_classes() -> None:
    tree = (
        '<Choice value="cat"><Choice value="other"/></Choice>'
        '<Choice value="dog"><Choice value="other"/></Choice>'
    )
    config = parse_label_config(view(IMAGE, f'<Taxonomy name="k" toName="image">{tree}</Taxonomy>'))
    schema = config.controls[0].schema
    assert isinstance(schema, Paths)
    assert set(schema.paths) == {("cat",), ("cat", "other"), ("dog",), ("dog", "other")}


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ((IMAGE, f'<Choices name="k" toName="image" perRegion="true">{AB}</Choices>'), "regions"),
        (
            (
                '<Image name="image" valueList="http://host/same.jpg"/>',
                f'<Choices name="k" toName="image" perItem="true">{AB}</Choices>',
            ),
            "value of the form",
        ),
        ((IMAGE, '<Choices name="k" toName="image" apiUrl="http://x/"/>'), "another server"),
        (
            (IMAGE, '<Choices name="k" toName="image"><Choice value="$x"/></Choices>'),
            "task's data",
        ),
        ((IMAGE, '<Choices name="k" toName="image"></Choices>'), "no choices"),
        ((IMAGE, '<Taxonomy name="k" toName="image"></Taxonomy>'), "no choices"),
        ((IMAGE, f'<Taxonomy name="k" toName="image" labeling="true">{AB}</Taxonomy>'), "regions"),
        ((IMAGE, '<Rating name="k" toName="image" maxRating="many"/>'), "'many' is no number"),
        ((IMAGE, '<Rating name="k" toName="image" maxRating="0"/>'), "from 1"),
        ((IMAGE, '<Number name="k" toName="image" step="0"/>'), "not above zero"),
        ((IMAGE, '<Number name="k" toName="image" min="nan"/>'), "'nan' is no number"),
        ((IMAGE, '<Number name="k" toName="image" min="2" max="1"/>'), "above its max"),
        ((IMAGE, '<DateTime name="k" toName="image"/>'), "DateTime is not learned"),
        (
            (
                IMAGE,
                '<RectangleLabels name="k" toName="image"><Label value="a"/></RectangleLabels>',
            ),
            "RectangleLabels is not learned",
        ),
        (
            (
                '<Image name="image" value="http://host/same.jpg"/>',
                f'<Choices name="k" toName="image">{AB}</Choices>',
            ),
            "value of the form",
        ),
        (
            (
                IMAGE,
                '<Text name="text" value="$text"/>',
                f'<Choices name="k" toName="text">{AB}</Choices>',
            ),
            "labels no image",
        ),
        (
            (
                IMAGE,
                '<Image name="b" value="$b"/>',
                f'<Choices name="k" toName="image,b">{AB}</Choices>',
            ),
            "several objects",
        ),
    ],
)
def test_what_is_not_learned_is_said(tags: tuple[str, ...], said: str) -> None:
    config = parse_label_config(view(*tags))
    assert config.controls == ()
    assert [skipped.name for skipped in config.skipped] == ["k"]
    assert said in config.skipped[0].reason
    assert config.reason is not None
    assert said in config.reason


def test_what_is_not_learned_does_not_hinder_the_rest() -> None:
    config = parse_label_config(
        view(
            IMAGE,
            f'<Choices name="many" toName="image" perRegion="true">{AB}</Choices>',
            f'<Choices name="one" toName="image">{AB}</Choices>',
        )
    )
    assert [control.name for control in config.controls] == ["one"]
    assert [str(skipped).split(":")[0] for skipped in config.skipped] == ["Choices 'many'"]
    assert config.reason is None


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        ("", "no label config yet"),
        ("  \n", "no label config yet"),
        ("<View></View>", "no image"),
        ("<View>", "can't be read"),
        ("not xml", "can't be read"),
        ("null", "can't be read"),
        (view(IMAGE), "no tag that is learned"),
        (view('<Text name="t" value="$t"/>'), "no image"),
        (view(IMAGE, f'<Choices toName="image">{AB}</Choices>'), "no tag that is learned"),
        (view(IMAGE, f'<Choices name="k" toName="nothing">{AB}</Choices>'), "labels no image"),
    ],
)
def test_a_config_that_gives_nothing_says_why(xml: str, said: str) -> None:
    config = parse_label_config(xml)
    assert config.controls == ()
    assert config.reason is not None
    assert said in config.reason


def test_a_growing_entity_does_no_harm() -> None:
    entities = '<!ENTITY e0 "aaaaaaaaaa">' + "".join(
        f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12)
    )
    config = parse_label_config(f"<!DOCTYPE View [{entities}]><View><Header>&e11;</Header></View>")
    assert config.reason is not None


def test_the_registry_knows_the_tags() -> None:
    assert {"Choices", "Taxonomy", "Rating", "Number"} <= set(known_tags())
