"""Reads annotations as votes: annotators' labels of units.

A unit (`store.tasks.units`) is a task's image, or all images of a task together.
"""

from collections.abc import Iterable, Mapping, Sequence

from model.annotators.vote_matrix import Annotator, Vote
from model.targets.schema import Value
from store.tasks.annotations import AnnotationRecord
from store.tasks.units import TaskId, UnitId, unit_of
from studio.config import LabelConfig
from studio.controls import Control
from studio.controls.base import Regions
from studio.items import by_item

Votes = Mapping[UnitId, Mapping[str, Sequence[Vote]]]  # {unit: {control: votes}}


def read_votes(
    annotations: Iterable[AnnotationRecord],
    config: LabelConfig,
    images: Mapping[TaskId, int] | None = None,
) -> Votes:
    """Read all votes, in order of time; an annotator may have several on a task.

    Args:
        annotations: those that count, the oldest first.
        images: {task: how many images it has}, of those with several.
    """
    counts = images or {}
    votes: dict[UnitId, dict[str, list[Vote]]] = {}
    for annotation in annotations:
        task = annotation.task_ls_id
        regions = config.regions(annotation.result)
        for control in config.controls:
            for item, value in read_label(regions, control, counts.get(task, 1)).items():
                vote = Vote(annotation.completed_by, value, annotation.ground_truth)
                of_unit = votes.setdefault(unit_of(task, item), {})
                of_unit.setdefault(control.name, []).append(vote)
    return votes


def newest_votes(votes: Votes) -> Votes:
    """Keep the newest vote of each annotator."""
    return {
        unit: {control: _newest(cast) for control, cast in controls.items()}
        for unit, controls in votes.items()
    }


def _newest(votes: Sequence[Vote]) -> Sequence[Vote]:
    newest: dict[Annotator, Vote] = {}
    for vote in votes:
        newest.pop(vote.annotator, None)  # it comes last again
        newest[vote.annotator] = vote
    return tuple(newest.values())


def read_label(regions: Regions, control: Control, images: int = 1) -> dict[int, Value]:
    """{item: the label that an annotation's regions give it by a control}.

    Args:
        images: how many the annotation's task has.
    """
    items = by_item(control, regions)
    if control.per_item and control.absent is not None:
        items = {item: items.get(item, ()) for item in {*range(images), *items}}
    labels = {item: _read(control, of_item) for item, of_item in items.items()}
    return {item: value for item, value in labels.items() if value is not None}


def _read(control: Control, regions: Regions) -> Value | None:
    value = control.read(regions)
    if value is not None or control.absent is None:
        return value
    mentioned = any(region.from_name == control.name for region in regions)
    return None if mentioned else control.absent
