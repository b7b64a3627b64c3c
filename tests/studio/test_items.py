"""Which of a task's images a region speaks of."""

from __future__ import annotations

from typing import Any

import pytest

from studio.config import parse_label_config
from studio.items import ALL_IMAGES, at_item, by_item, read_items
from studio.regions import StudioRegion

CONFIG = parse_label_config(
    '<View><Image name="image" valueList="$images"/>'
    '<Choices name="each" toName="image" perItem="true">'
    '<Choice value="a"/><Choice value="b"/></Choices>'
    '<Rating name="stars" toName="image" perItem="true"/>'
    '<Choices name="all" toName="image"><Choice value="a"/><Choice value="b"/></Choices></View>'
)
EACH, STARS, ALL = CONFIG.controls


def region(name: str, value: Any, **more: Any) -> StudioRegion:
    kind = "rating" if name == "stars" else "choices"
    value = value if name == "stars" else [value]
    json = {"from_name": name, "to_name": "image", "type": kind, "value": {kind: value}}
    return StudioRegion(json | more)


def test_each_image_has_its_own_label() -> None:
    result = [
        region("each", "b", item_index=2),
        region("stars", 4, item_index=2),
        region("each", "a", item_index=0),
        region("all", "b"),
    ]
    assert read_items(EACH, result) == {0: "a", 2: "b"}
    assert read_items(STARS, result) == {2: 4.0}
    assert read_items(ALL, result) == {ALL_IMAGES: "b"}


def test_a_region_that_names_no_image_is_of_the_first() -> None:
    assert read_items(EACH, [region("each", "a")]) == {0: "a"}
    assert read_items(EACH, [region("each", "a", item_index=None)]) == {0: "a"}


@pytest.mark.parametrize("item", [-1, 1.5, "1", True, [0], 10**12])
def test_what_names_no_image_that_could_be_is_left_out(item: object) -> None:
    assert by_item(EACH, [region("each", "a", item_index=item)]) == {}


def test_what_says_nothing_is_no_label() -> None:
    assert read_items(EACH, [region("each", "gone", item_index=1)]) == {}
    assert read_items(ALL, []) == {}


def test_a_suggestion_names_the_image_where_each_is_asked_about() -> None:
    (each,), (together,) = EACH.write("a", 0.5), ALL.write("a", 0.5)
    assert at_item(EACH, each, 3).to_json()["item_index"] == 3
    assert "item_index" not in at_item(ALL, together, ALL_IMAGES).to_json()


def test_of_a_single_image_an_item_is_the_first() -> None:
    config = parse_label_config(
        '<View><Image name="image" value="$image"/><Choices name="each" toName="image" '
        'perItem="true"><Choice value="a"/></Choices></View>'
    )
    (control,) = config.controls
    assert read_items(control, [region("each", "a", item_index=0)]) == {0: "a"}
    (written,) = control.write("a", 0.5)
    assert at_item(control, written, 0).to_json()["item_index"] == 0
