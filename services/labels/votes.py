"""Who labelled which task as what: the votes that consensus and label quality are made of."""

from collections.abc import Iterable, Mapping, Sequence

from model.annotators.ballot import Annotator, Vote
from services.labels.aggregation import read_label
from store.tasks.annotations import AnnotationRecord
from store.tasks.units import TaskId, UnitId, unit_of
from studio.config import LabelConfig
from studio.regions import regions_from_json

Votes = Mapping[UnitId, Mapping[str, Sequence[Vote]]]  # {unit: {control: one of each annotator}}


def read_votes(
    annotations: Iterable[AnnotationRecord],
    config: LabelConfig,
    images: Mapping[TaskId, int] | None = None,
) -> Votes:
    """All votes, in order of time; of who annotated a task again the newest counts.

    Args:
        annotations: those that count, the oldest first.
        images: {task: how many images it has}, of those with several.
    """
    counts = images or {}
    votes: dict[UnitId, dict[str, dict[Annotator, Vote]]] = {}
    for annotation in annotations:
        task, by = annotation.task_ls_id, annotation.completed_by
        regions = regions_from_json(annotation.result)
        for control in config.controls:
            for item, value in read_label(regions, control, counts.get(task, 1)).items():
                of_unit = votes.setdefault(unit_of(task, item), {})
                of_control = of_unit.setdefault(control.name, {})
                of_control.pop(by, None)
                of_control[by] = Vote(by, value, annotation.ground_truth)
    return {
        unit: {control: tuple(cast.values()) for control, cast in controls.items()}
        for unit, controls in votes.items()
    }
