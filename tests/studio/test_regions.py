"""Regions: nothing of Label Studio's JSON is lost, and odd properties count as absent."""

from typing import Any

import pytest

from studio.regions import StudioRegion, regions_from_json, regions_to_json

BOX = {
    "original_width": 640,
    "id": "x9_k",
    "type": "rectanglelabels",
    "from_name": "box",
    "to_name": "image",
    "value": {"x": 1.5, "rectanglelabels": ["car"], "rotation": 0},
    "meta": {"text": ["seen from behind"]},
    "origin": "manual",
}


def test_nothing_is_lost_on_the_way_there_and_back() -> None:
    odd = {"from_name": 7, "value": None, "item_index": "1", "more": [1, {}]}
    assert regions_to_json(regions_from_json([BOX, odd, {}])) == [BOX, odd, {}]


def test_what_a_region_says() -> None:
    region = StudioRegion.from_json(BOX)
    assert (region.from_name, region.kind, region.item) == ("box", "rectanglelabels", 0)
    assert region.value["rectanglelabels"] == ["car"]


@pytest.mark.parametrize("odd", [None, 7, True, ["box"], {}])
def test_a_property_of_another_type_counts_as_absent(odd: Any) -> None:
    region = StudioRegion(dict.fromkeys(("from_name", "type"), odd) | {"value": "text"})
    assert (region.from_name, region.kind, region.value) == ("", "", {})


def test_a_region_of_another_image_is_another_region() -> None:
    region = StudioRegion.from_json(BOX)
    assert region.at_item(2).item == 2
    assert region.at_item(2).to_json() == BOX | {"item_index": 2}
    assert region.to_json() == BOX


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan"), float("inf")])
def test_label_studio_takes_scores_from_0_to_1(score: float) -> None:
    with pytest.raises(ValueError, match="score"):
        StudioRegion.new(from_name="k", to_name="image", kind="choices", value={}, score=score)
