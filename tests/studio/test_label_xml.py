"""Label configs are read as Label Studio's editor reads them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.targets.schema import MultiLabel
from studio.config import LabelConfig, parse_label_config
from studio.items import at_item, read_items
from studio.regions import StudioRegion

AB = '<Choice value="a"/><Choice value="b"/>'
IMAGE = '<Image name="image" value="$image"/>'
KIND = f'<Choices name="kind" toName="image">{AB}</Choices>'


def parse(*tags: str) -> LabelConfig:
    return parse_label_config("<View>" + "".join(tags) + "</View>")


def region(name: str, value: str) -> StudioRegion:
    return StudioRegion.new(name, "x", "choices", {"choices": [value]})


# Where the images are


@pytest.mark.parametrize(
    ("value", "data", "uri"),
    [
        ("$meta.image", {"meta": {"image": "/a"}}, "/a"),
        ("$meta.image", {"meta.image": "/a"}, "/a"),
        ("$meta.image", {"meta.image": "/a", "meta": {"image": "/b"}}, "/a"),
        ("$pages[1].url", {"pages": [{"url": "/a"}, {"url": "/b"}]}, "/b"),
        ("$pages[1].url", {"pages": [{"url": "/a"}]}, None),
        ("$meta['the image']", {"meta": {"the image": "/a"}}, "/a"),
        ("$my-image", {"my-image": "/a"}, "/a"),
        (" $image ", {"image": "/a"}, "/a"),
        ("https://h/$name", {"name": "a.png"}, "https://h/a.png"),
        ("https://h/$name", {}, None),
    ],
)
def test_a_value_is_a_path_into_the_task(value: str, data: dict[str, Any], uri: str | None) -> None:
    config = parse(f'<Image name="image" value="{value}"/>', KIND)
    assert config.images(data) == (uri,)


def test_a_list_and_choices_are_found_by_their_path_too() -> None:
    config = parse(
        '<Image name="image" valueList="$set.images"/>',
        '<Choices name="kind" toName="image" value="$set.options" perItem="true"/>',
    )
    data = {"set": {"images": ["/a", "/b"], "options": [{"value": "x"}, {"value": "y"}]}}
    assert config.images(data) == ("/a", "/b")
    assert config.controls[0].offered(data) == {"x", "y"}


@pytest.mark.parametrize("value", ["image", "", "$", "$ image", "https://h/a.png"])
def test_an_image_that_is_the_same_for_all_tasks_is_not_learned(value: str) -> None:
    config = parse(f'<Image name="image" value="{value}"/>', KIND)
    assert config.controls == ()
    assert config.reason is not None
    assert 'no value of the form "$image"' in config.reason


# How tags are written


@pytest.mark.parametrize(
    "tags",
    [
        f'<image NAME="image" VALUE="$image"/><choices Name="kind" toname="image">{AB}</choices>',
        '<Image name="image" value="$image"/><Choices name="kind" toName="image">'
        "<Choice>a</Choice><Choice> b <!-- no --></Choice></Choices>",
        f'<Image name="image" value="$image"/><Choices name="kind">{AB}</Choices>',
        f'<Image name="image" value="$image"/><Choices name="kind" toName=" image ">{AB}</Choices>',
        f'<Image name="image" value="$image"><!-- "x" --></Image>{KIND}',
        f"<!-- <Choices name='kind' toName='image'/> --><?php no?>{IMAGE}{KIND}",
        f'<Style>.a > .b {{ }}</Style><Collapse><Panel value="p">{IMAGE}</Panel></Collapse>{KIND}',
        '<Image name="image" value="$image"/><Choices name="kind" toName="image">'
        '<Choice value="&#97;"/><Choice value="b" alias=""/></Choices>',
    ],
)
def test_odd_spellings_of_one_config_are_the_same(tags: str) -> None:
    config = parse(tags)
    assert (config.reason, config.skipped) == (None, ())
    (control,) = config.controls
    assert (control.name, control.to_name) == ("kind", "image")
    assert control.schema.classes == ("a", "b")
    assert control.read([region("kind", "b")]) == "b"
    assert config.images({"image": "/a"}) == ("/a",)


def test_names_may_have_dots_and_brackets() -> None:
    config = parse(
        '<Image name="i.m[0]" value="$image"/>',
        f'<Choices name="k.{{0}}[x]" toName="i.m[0]">{AB}</Choices>',
    )
    (control,) = config.controls
    assert (control.name, control.to_name) == ("k.{0}[x]", "i.m[0]")
    assert control.read([region("k.{0}[x]", "a")]) == "a"


def test_what_is_asked_under_a_condition_may_be_missing() -> None:
    several = f'<Choices name="kind" toName="image" choice="multiple">{AB}</Choices>'
    condition = '<View visibleWhen="choice-selected" whenTagName="x"><View>{}</View></View>'
    assert parse(IMAGE, several).controls[0].absent == frozenset()
    config = parse(IMAGE, condition.format(several))
    assert config.controls[0].schema == MultiLabel(("a", "b"))
    assert config.controls[0].absent is None


@pytest.mark.parametrize(
    ("to_name", "why"),
    [
        ("image,other", "it labels several objects at once"),
        ("text", "it labels no image"),
        ("nowhere", "it labels no image"),
    ],
)
def test_what_labels_no_single_image_is_skipped(to_name: str, why: str) -> None:
    control = f'<Choices name="kind" toName="{to_name}">{AB}</Choices>'
    text = '<Image name="other" value="$other"/><Text name="text" value="$text"/>'
    (skipped,) = parse(IMAGE, text, control).skipped
    assert skipped.reason == why


# Repeaters


PAGE = '<Image name="p_{{idx}}" value="$pages[{{idx}}].url"/>'
ASKED = f'<Choices name="k_{{{{idx}}}}" toName="p_{{{{idx}}}}">{AB}</Choices>'
PAGES = {"pages": [{"url": "/0"}, {"url": "/1"}, {}]}


def repeated(*tags: str, attributes: str = 'on="$pages" indexFlag="{{idx}}"') -> str:
    return f"<Repeater {attributes}><View>{''.join(tags)}</View></Repeater>"


@pytest.mark.parametrize(
    "tags",
    [
        repeated(PAGE, ASKED),
        repeated(PAGE, ASKED, attributes='on="$pages" mode="pagination"'),
        repeated(PAGE, ASKED, attributes='on="$pages" indexFlag="%"').replace("{{idx}}", "%"),
        repeated(PAGE) + repeated(ASKED),
    ],
)
def test_each_page_of_a_repeater_is_an_item(tags: str) -> None:
    config = parse(tags)
    assert (config.reason, config.skipped, config.multi_image) == (None, (), True)
    (control,) = config.controls
    assert control.per_item
    assert config.images(PAGES) == ("/0", "/1", None)
    assert config.images({"pages": []}) == config.images({}) == (None,)
    result = [region("k_1", "b"), region("k_0", "a"), region("k_01", "a"), region("k_x", "a")]
    assert read_items(control, result) == {0: "a", 1: "b"}
    (written,) = control.write("b", 0.5)
    said = at_item(control, written, 2)
    assert (said.from_name, said.to_json()["to_name"]) == ("k_2", "p_2")
    assert "item_index" not in said.to_json()
    assert read_items(control, [said]) == {2: "b"}
    assert not config.bulk([said])  # seen with Label Studio 1.23.2


def test_each_page_may_bring_its_own_choices() -> None:
    asked = '<Choices name="k_{{idx}}" toName="p_{{idx}}" value="$pages[{{idx}}].options"/>'
    (control,) = parse(repeated(PAGE, asked)).controls
    data = {"pages": [{"options": [{"value": "x"}]}, {"options": [{"value": "y"}]}]}
    assert (control.offered(data, 0), control.offered(data, 1)) == ({"x"}, {"y"})


def test_several_questions_of_each_page_are_learned() -> None:
    stars = '<Rating name="s_{{idx}}" toName="p_{{idx}}"/>'
    config = parse(repeated(PAGE, ASKED, stars))
    assert [control.name for control in config.controls] == ["k_{{idx}}", "s_{{idx}}"]


INNER = repeated(ASKED, attributes='on="$pages[{{idx}}].parts" indexFlag="{{part}}"')


@pytest.mark.parametrize(
    ("tags", "why"),
    [
        (repeated(PAGE, INNER), "a Repeater within a Repeater"),
        (repeated(repeated(PAGE, ASKED)), "a Repeater within a Repeater"),
        (
            IMAGE + repeated(ASKED.replace('"p_{{idx}}"', '"image"')),
            "it is repeated for one image",
        ),
        (repeated(PAGE) + ASKED, "it labels one image of a Repeater"),
        (repeated(PAGE, ASKED.replace('"k_{{idx}}"', '"k"')), "its name or toName lacks"),
        (repeated(PAGE.replace("[{{idx}}]", "[0]"), ASKED), "all are the same"),
        (repeated(PAGE.replace("value=", "valueList="), ASKED), "a list of images within"),
        (repeated(PAGE) + repeated(ASKED, attributes='on="$sheets"'), 'another "on"'),
        (repeated(PAGE, ASKED, attributes='on="pages"'), "no value of the form"),
        (
            repeated(PAGE, ASKED.replace('"a"', '"page {{idx}}"')),
            "its choices differ by the {{idx}}",
        ),
        (
            IMAGE
            + '<Choices name="kind" toName="image">'
            + repeated('<Choice value="no {{idx}}"/>')
            + "</Choices>",
            "a choice whose own value comes from a task's data",
        ),
    ],
)
def test_repeaters_that_are_not_learned_are_named(tags: str, why: str) -> None:
    config = parse(tags)
    assert config.controls == ()
    assert why in (config.reason or "")


def test_what_is_beside_a_repeater_is_learned_without_it() -> None:
    config = parse(IMAGE, KIND, repeated(PAGE, ASKED))
    assert [control.name for control in config.controls] == ["kind"]
    assert "another image of the task than 'kind'" in str(config.skipped[0])


# Whatever people write

TEXTS = (
    "image", "$image", "$a.b[0]", "p_{{idx}}", "$p[{{idx}}]", "", " ", "a,b", "true", "$",
    "{{idx}}",
)  # fmt: skip
ATTRIBUTES = (
    "name", "toName", "toname", "value", "valueList", "alias", "on", "indexFlag", "perRegion",
    "perItem", "visibleWhen", "allowNested", "choice", "maxRating", "min", "hint", "apiUrl",
)  # fmt: skip
NAMES = (
    "View", "Image", "image", "Choices", "Choice", "Repeater", "Taxonomy", "Rating", "Number",
    "RectangleLabels", "Label", "Text", "Style", "Filter",
)  # fmt: skip
GIVEN = st.dictionaries(st.sampled_from(ATTRIBUTES), st.sampled_from(TEXTS), max_size=5)
INSIDE = st.sampled_from(["", "text", "<!-- c -->"])


@st.composite
def elements(draw: st.DrawFn, depth: int = 0) -> str:
    attributes = "".join(f' {key}="{value}"' for key, value in draw(GIVEN).items())
    inner = "" if depth == 4 else "".join(draw(st.lists(elements(depth + 1), max_size=3)))
    name = draw(st.sampled_from(NAMES))
    return (
        f"<{name}{attributes}>{inner}{draw(st.sampled_from(['', 'text', '<!-- c -->']))}</{name}>"
    )


VALUES = st.recursive(
    st.none() | st.integers() | st.sampled_from(["/a", "", " "]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["image", "a", "b", "p", "options"]), inner)
    ),
    max_leaves=8,
)


@given(elements(), st.dictionaries(st.sampled_from(["image", "a", "p", "a.b[0]"]), VALUES))
def test_any_config_is_learned_or_says_why(tags: str, data: dict[str, Any]) -> None:
    config = parse(IMAGE, tags)
    assert bool(config.controls) == (config.reason is None)
    images = config.images(data)
    assert images
    assert all(uri is None or uri.strip() for uri in images)
    for control in config.controls:
        control.offered(data, len(images) - 1)
        assert "{{" not in str(control.offered({}) or "")
        name = at_item(control, region(control.name, "a"), 1).from_name
        assert control.repeat is None or name != control.name
