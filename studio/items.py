"""Assigns regions to the images of a task that has several."""

from __future__ import annotations

from model.targets.schema import Value
from studio.controls import Control
from studio.controls.base import Regions
from studio.controls.repeat import MOST_IMAGES
from studio.regions import StudioRegion

ONLY_IMAGE = 0  # the item of a task's only image
ALL_IMAGES = -1  # the item of what is said of all images of a task together


def by_item(control: Control, regions: Regions) -> dict[int, Regions]:
    """{item: the regions of this image that the control may own}.

    Regions that name no image that could be are left out.
    """
    if not control.per_item:
        return {ALL_IMAGES if control.multi_image else ONLY_IMAGE: regions}
    regions_of: dict[int, list[StudioRegion]] = {}
    for region in regions:
        item = item_of(control, region)
        if item is not None and item < MOST_IMAGES:
            own = region if control.repeat is None else region.renamed(control.name)
            regions_of.setdefault(item, []).append(own)
    return dict(regions_of)


def item_of(control: Control, region: StudioRegion) -> int | None:
    """The item that one of the control's regions labels; None for others and impossible items."""
    if control.repeat is not None:
        return control.repeat.index_of(region.from_name, control.name)
    return region.item if region.from_name == control.name else None


def owns(control: Control, region: StudioRegion) -> bool:
    """Whether a region is of this control."""
    if control.repeat is not None:
        return control.repeat.index_of(region.from_name, control.name) is not None
    return region.from_name == control.name


def read_items(control: Control, regions: Regions) -> dict[int, Value]:
    """{item: the label that regions give it by this control}."""
    labels = {item: control.read(of_item) for item, of_item in by_item(control, regions).items()}
    return {item: value for item, value in labels.items() if value is not None}


def at_item(control: Control, region: StudioRegion, item: int) -> StudioRegion:
    """The region, naming the image that it labels where Label Studio asks for that."""
    if control.repeat is not None:
        names = (control.repeat.at(name, item) for name in (control.name, control.to_name))
        return region.renamed(*names)
    return region.at_item(item) if control.per_item else region
