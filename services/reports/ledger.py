"""The ledger: outcomes of suggestions, the time they save, and their influence on people.

An annotation began with a suggestion when Label Studio says that it was pre-filled
(`parent_prediction`) and the prediction that the task showed then was not empty. Times are compared
with the control group, which is drawn by chance; while there are too few, with all that had no
suggestion, which are harder or earlier ones: then the comparison is only a hint.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from sqlalchemy import Connection

from model.statistics.group_comparison import (
    LEAST,
    difference_of_shares,
    geometric_mean,
    time_saved,
    without_breaks,
)
from model.statistics.intervals import Estimate, wilson_interval
from model.targets.kind import kind_of
from model.targets.schema import Value
from services.labels.project_config import label_config_of
from services.labels.votes import read_label
from store.predictions.shown import Suggested, suggestion_when_opened, suggestions_by_task
from store.projects.projects import Project
from store.tasks.accept_marks import began_accepted
from store.tasks.annotations import AnnotationRecord, current_annotations, first_lead_times
from studio.config import LabelConfig
from studio.controls import Control
from studio.controls.base import Regions
from studio.items import read_items


class Outcome(StrEnum):
    """The outcome of a suggestion."""

    KEPT = "kept"  # as it was suggested, in every control
    EDITED = "edited"  # some of it is left, or a number was moved
    REJECTED = "rejected"  # nothing of it is left


@dataclass(frozen=True)
class Pace:
    """Typical seconds for an annotation (geometric means), with a suggestion and without.

    `saved` is the difference, with a 95% interval; below 0, suggestions slow people down.
    """

    helped: float
    alone: float
    saved: Estimate
    against: str  # "blind": the control group; "unsuggested": all without one, only a hint


@dataclass(frozen=True)
class Tally:
    """Outcomes of the `suggested` annotations that began with a suggestion."""

    suggested: int
    kept: int
    edited: int
    rejected: int
    pace: Pace | None


@dataclass(frozen=True)
class AnnotatorTally:
    """The tally of one annotator; None stands for all that Label Studio doesn't name."""

    annotator: int | None
    tally: Tally


@dataclass(frozen=True)
class ClassTally:
    """The tally of one class of a control: how often it was suggested, and kept.

    The pace is that of annotations that say this class in the end, whatever was suggested.
    """

    control: str
    name: str
    suggested: int
    kept: int
    pace: Pace | None


@dataclass(frozen=True)
class Sway:
    """The agreement of annotations with the model, with its suggestion shown and withheld.

    `difference` is how much more often: what suggestions make people say. 95% intervals.
    """

    shown: Estimate
    blind: Estimate
    difference: Estimate


@dataclass(frozen=True)
class Ledger:
    """The effect of suggestions in a project."""

    annotations: int
    blind: int  # annotations of tasks whose suggestion was withheld
    total: Tally
    seconds_saved: float | None  # by all suggestions together
    annotators: Sequence[AnnotatorTally]
    classes: Sequence[ClassTally]
    slow: Sequence[ClassTally]  # classes where suggestions surely slow people down
    sway: Sway | None


@dataclass(frozen=True)
class _Entry:
    """An annotation, with the suggestion that its annotator saw."""

    annotator: int | None
    seconds: float | None
    outcome: Outcome | None  # None: no suggestion was shown
    blind: bool
    agrees: bool | None  # with what was suggested or withheld
    classes: frozenset[tuple[str, str]]  # (control, class) that it says
    proposed: frozenset[tuple[str, str]]  # that were suggested
    stayed: frozenset[tuple[str, str]]  # of these, those that it says of the same image


def read_ledger(
    db: Connection, project: Project, annotations: Sequence[AnnotationRecord] | None = None
) -> Ledger:
    """Compute the ledger of a project from all annotations, or from the given ones."""
    if annotations is None:
        annotations = current_annotations(db, project.id)
    config = label_config_of(project)
    given = suggestions_by_task(db, project.id, annotated_only=True)
    times = first_lead_times(db, project.id)
    entries = []
    for annotation in annotations:
        # It was opened so long before it was made; what was worked on it later counts beside.
        worked = times.get((annotation.ls_id, annotation.created_at), annotation.lead_time)
        opened = annotation.created_at - (worked or 0.0)
        was = suggestion_when_opened(given.get(annotation.task_ls_id, ()), opened)
        entries.append(_entry(annotation, was, config))
    return _ledger(entries)


def _entry(annotation: AnnotationRecord, was: Suggested | None, config: LabelConfig) -> _Entry:
    seconds = annotation.lead_time
    if began_accepted(annotation.result):  # it was there before the person came
        was = seconds = None
    helped = was is not None and annotation.parent_prediction is not None
    shown = config.regions(was.result) if was is not None and helped else []
    withheld = config.regions(was.withheld or ()) if was is not None else []
    regions = config.regions(annotation.result)
    outcome = _outcome(regions, shown, config.controls) if shown else None
    compared = outcome or (_outcome(regions, withheld, config.controls) if withheld else None)
    says = _classes((control, read_label(regions, control)) for control in config.controls)
    proposes = _classes((control, read_items(control, shown)) for control in config.controls)
    return _Entry(
        annotator=annotation.completed_by,
        seconds=seconds,
        outcome=outcome,
        blind=bool(withheld),
        agrees=None if compared is None else compared is Outcome.KEPT,
        classes=_names(says),
        proposed=_names(proposes),
        stayed=_names(says & proposes),
    )


def _outcome(regions: Regions, suggested: Regions, controls: Iterable[Control]) -> Outcome | None:
    """The outcome of a suggestion; None when the config has none of its controls now."""
    outcomes = set()
    for control in controls:
        labels = read_label(regions, control)
        for item, value in read_items(control, suggested).items():
            outcomes.add(_compare(control, value, labels.get(item)))
    if not outcomes:
        return None
    return outcomes.pop() if len(outcomes) == 1 else Outcome.EDITED


def _compare(control: Control, suggested: Value, label: Value | None) -> Outcome:
    if label is None:
        return Outcome.REJECTED
    kind = kind_of(control.schema)
    if kind.agrees(control.schema, [suggested], [label])[0]:
        return Outcome.KEPT
    return Outcome.EDITED if kind.is_edit(suggested, label) else Outcome.REJECTED


def _classes(
    values_of_controls: Iterable[tuple[Control, Mapping[int, Value]]],
) -> set[tuple[str, str, int]]:
    """(control, class, image index) of the labels; numbers have no class."""
    return {
        (control.name, name, item)
        for control, values in values_of_controls
        for item, value in values.items()
        for name in kind_of(control.schema).classes_in(control.schema, value)
    }


def _names(classes: set[tuple[str, str, int]]) -> frozenset[tuple[str, str]]:
    return frozenset((control, name) for control, name, _ in classes)


def _ledger(entries: Sequence[_Entry]) -> Ledger:
    total = _tally(entries)
    by_annotator: dict[int | None, list[_Entry]] = defaultdict(list)
    for entry in entries:
        by_annotator[entry.annotator].append(entry)
    classes = _class_tallies(entries)
    return Ledger(
        annotations=len(entries),
        blind=sum(entry.blind for entry in entries),
        total=total,
        seconds_saved=total.suggested * total.pace.saved.value if total.pace else None,
        annotators=[
            AnnotatorTally(name, _tally(by_annotator[name]))
            for name in sorted(by_annotator, key=lambda name: (name is None, name or 0))
        ],
        classes=classes,
        slow=[one for one in classes if one.pace is not None and one.pace.saved.high < 0],
        sway=_sway(entries),
    )


def _tally(entries: Sequence[_Entry]) -> Tally:
    counts = dict.fromkeys(Outcome, 0)
    for entry in entries:
        if entry.outcome is not None:
            counts[entry.outcome] += 1
    return Tally(
        suggested=sum(counts.values()),
        kept=counts[Outcome.KEPT],
        edited=counts[Outcome.EDITED],
        rejected=counts[Outcome.REJECTED],
        pace=_pace(entries),
    )


def _class_tallies(entries: Sequence[_Entry]) -> list[ClassTally]:
    saying: dict[tuple[str, str], list[_Entry]] = defaultdict(list)
    proposed: dict[tuple[str, str], int] = defaultdict(int)
    kept: dict[tuple[str, str], int] = defaultdict(int)
    for entry in entries:
        for key in entry.classes:
            saying[key].append(entry)
        for key in entry.proposed:
            proposed[key] += 1
            kept[key] += key in entry.stayed
    return [
        ClassTally(*key, suggested=proposed[key], kept=kept[key], pace=_pace(saying[key]))
        for key in sorted({*saying, *proposed})
    ]


def _pace(entries: Sequence[_Entry]) -> Pace | None:
    helped = without_breaks([entry.seconds for entry in entries if entry.outcome is not None])
    blind = without_breaks([entry.seconds for entry in entries if entry.blind])
    enough = len(blind) >= LEAST
    alone = blind if enough else without_breaks([e.seconds for e in entries if e.outcome is None])
    saved = time_saved(helped, alone)
    if saved is None:
        return None
    against = "blind" if enough else "unsuggested"
    return Pace(geometric_mean(helped), geometric_mean(alone), saved, against)


def _sway(entries: Sequence[_Entry]) -> Sway | None:
    shown = [entry.agrees for entry in entries if entry.outcome is not None]
    blind = [entry.agrees for entry in entries if entry.blind and entry.agrees is not None]
    if min(len(shown), len(blind)) < LEAST:
        return None
    shares = wilson_interval(np.array(shown, np.bool_)), wilson_interval(np.array(blind, np.bool_))
    return Sway(*shares, difference_of_shares(*shares))
