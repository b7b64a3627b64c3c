"""From annotations to labels: what each image's is, by control.

A label is of a unit (`store.units`): a task's image, or all images of a task together.
"""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from model.targets.schema import Path, Paths, TargetSchema, Value, most_specific, with_ancestors
from store.tasks.annotations import AnnotationRecord
from store.tasks.units import TaskId, UnitId, unit_of
from studio.config import LabelConfig
from studio.controls import Control
from studio.controls.base import Regions
from studio.items import by_item
from studio.regions import regions_from_json

Labels = dict[UnitId, dict[str, Value]]  # {unit: {control: label}}

T = TypeVar("T", str, Path)


def read_labels(
    annotations: Iterable[AnnotationRecord],
    config: LabelConfig,
    images: Mapping[TaskId, int] | None = None,
) -> Labels:
    """The labels of all units with a usable annotation.

    Ground truth counts before anything else. Of several annotators: the majority, for several
    classes of each class for itself, and the median of three numbers and more; of a tie, the
    newest annotation.

    Args:
        annotations: those that count, the oldest first.
        images: {task: how many images it has}, of those with several.
    """
    votes: dict[UnitId, dict[str, list[tuple[bool, Value]]]] = {}
    counts = images or {}
    for annotation in annotations:
        task = annotation.task_ls_id
        regions = regions_from_json(annotation.result)
        for control in config.controls:
            for item, value in read_label(regions, control, counts.get(task, 1)).items():
                of_unit = votes.setdefault(unit_of(task, item), {})
                of_unit.setdefault(control.name, []).append((annotation.ground_truth, value))
    schemas = {control.name: control.schema for control in config.controls}
    return {
        unit: {control: _decide(cast, schemas[control]) for control, cast in controls.items()}
        for unit, controls in votes.items()
    }


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


def _decide(cast: list[tuple[bool, Value]], schema: TargetSchema) -> Value:
    truths = [value for is_truth, value in cast if is_truth]
    values = truths or [value for _, value in cast]
    if len(values) == 1:
        return values[0]
    sets = [value for value in values if isinstance(value, frozenset)]
    if sets and not (isinstance(schema, Paths) and not schema.multiple):
        return _by_class(sets, schema)
    numbers = [value for value in values if isinstance(value, float)]
    if len(numbers) >= 3:
        return statistics.median_low(numbers)
    counts = Counter(values)
    most = max(counts.values())
    return next(value for value in reversed(values) if counts[value] == most)


def _by_class(sets: Sequence[frozenset[str] | frozenset[Path]], schema: TargetSchema) -> Value:
    """The classes that most have; with half of the votes, those that the newest has.

    Where most see something, but none the same, what the newest of them sees.
    """
    if isinstance(schema, Paths):
        paths = [frozenset(path for path in each if isinstance(path, tuple)) for each in sets]
        if schema.leaves_only:
            agreed: Value = _majority(paths)
        else:
            agreed = most_specific(_majority([with_ancestors(each) for each in paths]))
    else:
        agreed = _majority([frozenset(n for n in each if isinstance(n, str)) for each in sets])
    seeing = [each for each in sets if each]
    return agreed if agreed or 2 * len(seeing) <= len(sets) else seeing[-1]


def _majority(sets: Sequence[frozenset[T]]) -> frozenset[T]:
    counts = Counter(name for each in sets for name in each)
    return frozenset(
        name
        for name, count in counts.items()
        if 2 * count > len(sets) or (2 * count == len(sets) and name in sets[-1])
    )
