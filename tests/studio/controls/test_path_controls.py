"""Reading and writing the results of controls with several classes, paths and choices of a task."""

from typing import Any

import pytest

from studio.config import parse_label_config
from studio.controls import Control
from studio.regions import StudioRegion

TREE = (
    '<Choice value="animal" alias="a"><Choice value="cat"/><Choice value="dog"/></Choice>'
    '<Choice value="thing"/>'
)


def control_of(tag: str) -> Control:
    where = 'name="k" toName="image"'
    xml = f'<View><Image name="image" value="$image"/>{tag.format(where)}</View>'
    config = parse_label_config(xml)
    assert config.reason is None
    return config.controls[0]


def region(value: Any, kind: str = "choices") -> StudioRegion:
    return StudioRegion(
        {"from_name": "k", "to_name": "image", "type": kind, "value": {kind: value}}
    )


SEVERAL = '<Choices {} choice="multiple"><Choice value="a" alias="A"/><Choice value="b"/></Choices>'
NESTED = f'<Choices {{}} allowNested="true">{TREE}</Choices>'
NESTED_SEVERAL = f'<Choices {{}} allowNested="true" choice="multiple">{TREE}</Choices>'
TAXONOMY = f"<Taxonomy {{}}>{TREE}</Taxonomy>"
ONE_PATH = f'<Taxonomy {{}} maxUsages="1">{TREE}</Taxonomy>'


@pytest.mark.parametrize(
    ("tag", "said", "label"),
    [
        (SEVERAL, ["b", "A"], {"A", "b"}),
        (SEVERAL, ["b", "gone"], {"b"}),
        (SEVERAL, [], set()),
        (SEVERAL, ["gone"], None),
        (SEVERAL, [["A"]], None),
        (SEVERAL, "A", None),
        (NESTED, [["a", "cat"]], {("a", "cat")}),
        # With an only child the editor saves what is above it as well.
        (NESTED, [["a"], ["a", "cat"]], {("a", "cat")}),
        (NESTED, [["a", "cat"], ["a", "dog"]], None),
        (NESTED, ["thing"], {("thing",)}),
        (NESTED, [["a"]], None),
        (NESTED, [["a", "gone"]], None),
        (NESTED, [[1]], None),
        (NESTED_SEVERAL, [["a"], ["a", "cat"], ["a", "dog"]], {("a", "cat"), ("a", "dog")}),
        (NESTED_SEVERAL, [], set()),
    ],
)
def test_choices_are_read(tag: str, said: Any, label: set[Any] | None) -> None:
    assert control_of(tag).read([region(said)]) == label


@pytest.mark.parametrize(
    ("tag", "said", "label"),
    [
        (TAXONOMY, [["a", "cat"], ["thing"]], {("a", "cat"), ("thing",)}),
        (TAXONOMY, [["a"]], {("a",)}),
        (TAXONOMY, [["a"], ["a", "dog"]], {("a", "dog")}),
        (TAXONOMY, [["a", "dog"], ["my", "own"]], {("a", "dog")}),
        (TAXONOMY, [["animal", "dog"]], None),
        (ONE_PATH, [["a", "dog"]], {("a", "dog")}),
        (ONE_PATH, [["a", "dog"], ["thing"]], None),
        (ONE_PATH, [], None),
    ],
)
def test_paths_are_read(tag: str, said: Any, label: set[Any] | None) -> None:
    assert control_of(tag).read([region(said, "taxonomy")]) == label


@pytest.mark.parametrize(
    ("tag", "label", "written"),
    [
        (SEVERAL, {"b", "A"}, {"choices": ["A", "b"]}),
        (NESTED, {("a", "dog")}, {"choices": [["a", "dog"]]}),
        (TAXONOMY, {("thing",), ("a", "cat")}, {"taxonomy": [["a", "cat"], ["thing"]]}),
    ],
)
def test_what_is_written_is_read_back(tag: str, label: set[Any], written: dict[str, Any]) -> None:
    control = control_of(tag)
    (region,) = control.write(frozenset(label), 0.75)
    assert region.to_json() == {
        "from_name": "k",
        "to_name": "image",
        "type": next(iter(written)),
        "value": written,
        "score": 0.75,
    }
    assert control.read([region]) == label


@pytest.mark.parametrize(
    ("tag", "label"),
    [
        (SEVERAL, frozenset()),
        (SEVERAL, frozenset({"a"})),
        (SEVERAL, "A"),
        (NESTED, frozenset({("a",)})),
        (NESTED, frozenset({("a", "cat"), ("a", "dog")})),
        (TAXONOMY, frozenset({("a", "gone")})),
        (TAXONOMY, frozenset()),
        (TAXONOMY, 1.0),
    ],
)
def test_what_label_studio_would_drop_is_not_written(tag: str, label: Any) -> None:
    with pytest.raises(ValueError):
        control_of(tag).write(label, 0.5)


def test_only_what_annotators_always_see_and_may_leave_empty_says_none() -> None:
    assert control_of(SEVERAL).absent == frozenset()
    assert control_of(NESTED_SEVERAL).absent == frozenset()
    assert control_of(TAXONOMY).absent is None
    assert control_of(SEVERAL.replace("{}", '{} required="true"')).absent is None
    assert control_of(SEVERAL.replace("{}", '{} visibleWhen="choice-selected"')).absent is None
    assert control_of(ONE_PATH).absent is None


def test_only_nested_choices_are_refused_in_bulk() -> None:
    tags = SEVERAL.format('name="flat" toName="image"') + NESTED.format(
        'name="deep" toName="image"'
    )
    config = parse_label_config(f'<View><Image name="image" value="$image"/>{tags}</View>')
    flat, deep = config.controls
    of_flat = flat.write(frozenset({"b"}), 0.5)
    assert config.bulk(of_flat)
    assert not config.bulk([*of_flat, *deep.write(frozenset({("thing",)}), 0.5)])


OPTIONS = [{"value": "one", "alias": "1"}, "two", {"value": "three", "children": [{"value": "x"}]}]


@pytest.mark.parametrize(
    ("tag", "offered"),
    [
        ('<Choices {} value="$options"/>', {"1", "two", "three"}),
        ('<Taxonomy {} value="$options"/>', {("1",), ("two",), ("three",), ("three", "x")}),
        (SEVERAL, None),
        (TAXONOMY, None),
    ],
)
def test_what_a_task_offers(tag: str, offered: set[Any] | None) -> None:
    assert control_of(tag).offered({"options": OPTIONS}) == offered


@pytest.mark.parametrize("options", [None, "one", 3, {}, [None, 1, {"value": 2}, {}]])
def test_options_that_cant_be_read_offer_nothing(options: Any) -> None:
    control = control_of('<Choices {} value="$options"/>')
    assert control.offered({"options": options}) == frozenset()
    assert control.offered({}) == frozenset()


def test_any_class_may_come_with_a_task() -> None:
    single = control_of('<Choices {} value="$options"/>')
    assert single.read([region(["whatever"])]) == "whatever"
    (written,) = single.write("whatever", 0.5)
    assert written.value == {"choices": ["whatever"]}
    with pytest.raises(ValueError):
        single.write("", 0.5)
