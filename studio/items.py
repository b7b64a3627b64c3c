"""Tasks with several images: which of them a region speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.targets.schema import Value
from studio.controls import Control
from studio.controls.base import MOST_IMAGES, Results

ONLY = 0  # the item of a task's only image
WHOLE = -1  # the item of what is said of all images of a task together


def by_item(control: Control, results: Results) -> dict[int, Results]:
    """{item: the regions of a result that may say what this control says of it}.

    Label Studio's editor writes `item_index` for the first image too; where it is missing all the
    same, the first is meant. What names no image that could be is left out.
    """
    if not control.per_item:
        return {WHOLE if control.several else ONLY: results}
    found: dict[int, list[Mapping[str, Any]]] = {}
    for region in results:
        if region.get("from_name") == control.name:
            item = region.get("item_index")
            item = ONLY if item is None else item
            if type(item) is int and 0 <= item < MOST_IMAGES:
                found.setdefault(item, []).append(region)
    return dict(found)


def read_items(control: Control, results: Results) -> dict[int, Value]:
    """{item: what a result says of it by this control}."""
    said = {item: control.read(regions) for item, regions in by_item(control, results).items()}
    return {item: value for item, value in said.items() if value is not None}


def at_item(control: Control, region: dict[str, Any], item: int) -> dict[str, Any]:
    """The region, naming the image that it labels where Label Studio asks for that."""
    return region | {"item_index": item} if control.per_item else region
