"""Reading and writing the results of single choices."""

from typing import Any

import pytest

from studio.config import parse_label_config
from studio.controls import Control
from studio.regions import StudioRegion


@pytest.fixture
def control() -> Control:
    config = parse_label_config(
        '<View><Image name="image" value="$picture"/><Choices name="kind" toName="image">'
        '<Choice value="a" alias="A"/><Choice value="b"/></Choices></View>'
    )
    return config.controls[0]


def region(**changes: Any) -> StudioRegion:
    chosen = {"choices": ["b"]}
    json = {"from_name": "kind", "to_name": "image", "type": "choices", "value": chosen}
    return StudioRegion(json | changes)


def test_what_is_written_is_read_back(control: Control) -> None:
    for name in ("A", "b"):
        assert control.read(control.write(name, 0.75)) == name


def test_the_region_is_what_label_studio_expects(control: Control) -> None:
    (written,) = control.write("A", 0.75)
    assert written.to_json() == {
        "from_name": "kind",
        "to_name": "image",
        "type": "choices",
        "value": {"choices": ["A"]},
        "score": 0.75,
    }


def test_regions_of_other_controls_are_passed_over(control: Control) -> None:
    others = [region(from_name="other"), region(type="rectanglelabels"), StudioRegion({})]
    assert control.read(others) is None
    assert control.read([*others, region()]) == "b"


@pytest.mark.parametrize(
    "value",
    [
        None,
        "b",
        {},
        {"choices": None},
        {"choices": "b"},
        {"choices": []},
        {"choices": ["A", "b"]},
        {"choices": [["A", "b"]]},
        {"choices": ["a"]},
        {"choices": ["gone"]},
        {"choices": [None]},
    ],
)
def test_what_is_no_single_known_class_is_none(control: Control, value: object) -> None:
    assert control.read([region(value=value)]) is None


@pytest.mark.parametrize(
    ("name", "score"), [("a", 0.5), ("gone", 0.5), ("b", -0.1), ("b", 1.1), ("b", float("nan"))]
)
def test_what_label_studio_would_drop_is_not_written(
    control: Control, name: str, score: float
) -> None:
    with pytest.raises(ValueError):
        control.write(name, score)


@pytest.mark.parametrize(
    ("data", "uri"),
    [
        ({"picture": "/data/upload/1/a.jpg"}, "/data/upload/1/a.jpg"),
        ({"image": "/a.jpg"}, None),
        ({"picture": None}, None),
        ({"picture": ["/a.jpg"]}, None),
        ({"picture": "  "}, None),
        ({}, None),
    ],
)
def test_the_image_of_a_task(control: Control, data: dict[str, Any], uri: str | None) -> None:
    assert control.images(data) == (uri,)
