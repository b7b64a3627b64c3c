"""What of annotations can't be learned, and why."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from model.targets.schema import JOIN
from store.tasks.annotations import AnnotationRecord
from studio.config import LabelConfig
from studio.items import item_of, owns, read_items
from studio.regions import StudioRegion

MOST = 20  # faults of one task


class FaultKind(StrEnum):
    """Why a label can't be learned. The details are names of classes, control tags or types."""

    UNKNOWN_CLASS = "unknown class"
    UNKNOWN_CONTROL = "unknown control"
    NOT_LEARNED = "not learned"  # its control is of the config, but of a kind that isn't
    OTHER_TYPE = "other type"  # its control had another tag
    OTHER_VALUE = "other value"  # that its control doesn't take (any more)
    NO_IMAGE = "no image"  # it names none that the task could have
    EMPTY = "empty"  # the annotation says nothing


@dataclass(frozen=True, order=True)
class LabelFault:
    """Why a part of an annotation can't be learned. `control` is a control tag's name."""

    kind: FaultKind
    control: str = ""
    detail: str = ""


def faults_of(annotation: AnnotationRecord, config: LabelConfig) -> set[LabelFault]:
    """What of an annotation can't be learned."""
    regions = config.regions(annotation.result)
    faults: set[LabelFault] = set()
    said = False
    for region in regions:
        if region.from_name:  # relations between regions have none
            said = True
            faults |= _faults_of(region, config)
    if not said and all(control.absent is None for control in config.controls):
        faults.add(LabelFault(FaultKind.EMPTY))
    return faults


def _faults_of(region: StudioRegion, config: LabelConfig) -> set[LabelFault]:
    name = region.from_name
    control = next((each for each in config.controls if owns(each, region)), None)
    if control is None:
        skipped = any(_may_be(name, each.name) for each in config.skipped)
        return {LabelFault(FaultKind.NOT_LEARNED if skipped else FaultKind.UNKNOWN_CONTROL, name)}
    if region.kind != control.kind:
        return {LabelFault(FaultKind.OTHER_TYPE, control.name, region.kind)}
    if control.per_item and item_of(control, region) is None:
        return {LabelFault(FaultKind.NO_IMAGE, control.name)}
    unknown = control.unknown(region)
    if unknown:
        return {
            LabelFault(FaultKind.UNKNOWN_CLASS, control.name, name_of_path(path))
            for path in unknown
        }
    if not read_items(control, [region]):
        return {LabelFault(FaultKind.OTHER_VALUE, control.name)}
    return set()


def _may_be(name: str, template: str) -> bool:
    """Whether a control that is not learned has this name, perhaps as one of a Repeater's."""
    parts = map(re.escape, re.split(r"\{\{.*?\}\}", template))
    return name == template or re.fullmatch(r"\d+".join(parts), name) is not None


def name_of_path(path: Sequence[str]) -> str:
    """A class's path from the root, as people read and write it."""
    return JOIN.join(path)


def faults_to_text(faults: Iterable[LabelFault]) -> str | None:
    """Faults as the text that is stored, the same for the same faults; None for no fault."""
    listed = sorted(set(faults))[:MOST]
    rows = [[each.kind, each.control, each.detail] for each in listed]
    return json.dumps(rows, ensure_ascii=False) if rows else None


def faults_from_text(text: str) -> list[LabelFault]:
    """Read what `faults_to_text` made."""
    return [
        LabelFault(FaultKind(kind), control, detail) for kind, control, detail in json.loads(text)
    ]
