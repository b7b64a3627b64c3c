"""Suggestions that are taken without a person looking at each, where a team set an error target.

The rule (`model/active_learning/auto_accept.py`) is decided anew at every look, from random picks
that people have labelled. A tenth of what it takes stays open, so that it goes on being audited.
When the bound breaks, nothing more is taken and marks are removed; when more than the target of
the picks that are as sure, or of the same class, are wrong, what was written to Label Studio is
deleted there again, unless a person has touched it.
"""

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter

import numpy as np
import structlog
from sqlalchemy import Connection

from model.active_learning.advice import Advice
from model.active_learning.auto_accept import OFF, ON, Audited, Rule, decide
from model.targets.schema import Value
from services.advice import get_advice
from services.labels.answer_groups import group_of
from services.labels.multi_image import parts_of
from services.snapshot import Snapshot
from services.suggestions.predictor import Predictor
from services.suggestions.suggest import answers
from store.predictions.auto_accepts import (
    MARKED,
    SENT,
    WANTED,
    WRITTEN,
    Acceptance,
    add_acceptances,
    count_acceptances,
    delete_unwritten,
    list_acceptances,
    withdraw,
)
from store.predictions.shortlists import get_shortlist
from store.projects.goals import Goal, get_goal
from store.projects.key_values import dataclass_key
from store.store import Store
from store.tasks.accept_marks import marked
from store.tasks.units import TaskId
from store.versions.versions import REFUSED, Version, newest_version
from store.work import pending_work
from store.work.work_kind import WorkKind
from studio.config import LabelConfig
from studio.items import read_items
from studio.regions import StudioRegion, regions_from_json, regions_to_json

log = structlog.get_logger()

CHUNK = 5_000  # tasks whose embeddings are in memory at a time
ROWS = 2_000  # written at a time: webhooks wait for it
RESERVED = 0.1  # of what the rule takes: it stays in the queue


@dataclass(frozen=True)
class Standing:
    """What the rule says now, and why nothing is accepted where nothing can be."""

    rule: Rule
    reason: str | None


NOTHING = Rule(OFF, None, None, 0, 0, (), 0)


def standing(
    goal: Goal, advice: Advice | None, config: LabelConfig, *, held: bool = False
) -> Standing:
    """Decide the rule from what is remembered of the random picks.

    Args:
        held: a person chose what is served. The picks tell of newer versions, not of that one.
    """
    if goal.accept_error is None:
        return Standing(NOTHING, "no error target is set")
    if config.skipped:
        names = ", ".join(repr(item.name) for item in config.skipped)
        return Standing(NOTHING, f"a person has to fill in {names}, which is not learned")
    picks = advice.picks if advice is not None else ()
    audited = Audited(
        np.array([pick.confidence for pick in picks], np.float64),
        np.array([pick.wrong for pick in picks], np.bool_),
        np.array([pick.group for pick in picks], np.str_),
    )
    rule = decide(audited, goal.accept_error)
    if held:
        why = "the served version was chosen by a person, and the random picks tell of newer ones"
        return Standing(replace(rule, state=OFF, threshold=None), why)
    return Standing(rule, None)


@dataclass(frozen=True)
class Look:
    """What tasks were looked at for: as long as it is the same, there is nothing to accept."""

    version: int | None
    goal: float  # when it was changed, in seconds since 1970
    threshold: float | None
    excluded: list[str]
    broken: list[str]
    stays: float | None
    tasks: int | None  # None while some can't be looked at yet


LAST_LOOK = dataclass_key("accepted", Look)


def accept(store: Store, now: Snapshot) -> None:
    """Take what may be taken of the open tasks, and give up what may not be any more."""
    project_id = now.project.id
    key = LAST_LOOK.of(project_id)
    with store.database.read() as db:
        goal, advice = get_goal(db, project_id), get_advice(db, project_id)
        counts = count_acceptances(db, project_id)
        version = newest_version(db, project_id)
        shortlist = set(get_shortlist(db, project_id))
        looked = key.get(db)
    if goal.accept_error is None and not counts:
        return
    held = now.project.held_at is not None
    rule = standing(goal, advice, now.config, held=held).rule
    if version is not None and version.status == REFUSED:
        version = now.served
    waiting = any(task.usable and task.embedded_space != now.space for task in now.tasks)
    looking = Look(
        version=version.id if version is not None else None,
        goal=goal.changed_at,
        threshold=rule.threshold if rule.state == ON else None,
        excluded=list(rule.excluded),
        broken=list(rule.broken),
        stays=rule.stays if rule.stays < math.inf else None,
        tasks=len(now.tasks) if not waiting else None,
    )
    if looked == looking:
        return
    accepted: list[Acceptance] = []
    if rule.state == ON and version is not None and version.artifact is not None:
        accepted = _taken(store, now, version, rule, goal, shortlist)

    broken = _of_groups(store, now, rule.broken) if rule.broken else []

    def give_up(db: Connection) -> int:
        delete_unwritten(db, project_id)
        withdrawn = withdraw(db, project_id, rule.stays, broken)
        if withdrawn:
            pending_work.want(db, project_id, WorkKind.PUBLISH)
        return withdrawn

    withdrawn = store.database.write(give_up)
    for start in range(0, len(accepted), ROWS):
        part = accepted[start : start + ROWS]
        store.database.write(partial(add_acceptances, project_id=project_id, accepted=part))

    def finish(db: Connection) -> None:
        key.set(db, looking)
        if any(item.state == WANTED for item in accepted):
            pending_work.want(db, project_id, WorkKind.PUBLISH)

    store.database.write(finish)
    log.info("accepted", state=rule.state, tasks=len(accepted), withdrawn=withdrawn)


def _taken(
    store: Store,
    now: Snapshot,
    version: Version,
    rule: Rule,
    goal: Goal,
    shortlist: set[TaskId],
) -> list[Acceptance]:
    predictor = Predictor.load(store, version)
    if not all(map(predictor.learned, now.config.controls)):
        return []  # half an answer is none
    free = [
        task
        for task in now.open
        if task.ls_id not in shortlist
        and task.ls_id not in now.drawn
        and not reserved(now.project.id, task.ls_id)
    ]
    if now.config.multi_image:  # of what is not all seen, nothing is accepted
        partly = {image.ls_id for image in now.images if not image.usable}
        free = [task for task in free if task.ls_id not in partly]
    state = WANTED if goal.accept_writes else MARKED
    taken: list[Acceptance] = []
    for part in parts_of(free, CHUNK, attrgetter("ls_id")):
        found = answers(store, now.project, part, predictor, now.config, 0.0)
        tasks = [task for task, answer in found.items() if answer.result]
        sure = np.array([found[task].confidence for task in tasks], np.float64)
        groups = np.array([_group(found[task].result, now.config) for task in tasks], np.str_)
        for index in np.flatnonzero(rule.takes(sure, groups)):
            task = tasks[index]
            result = marked(regions_to_json(found[task].result))
            confidence = round(found[task].confidence, 5)
            taken.append(Acceptance(task, version.id, confidence, result, state, None, time.time()))
    return taken


def _of_groups(store: Store, now: Snapshot, groups: Sequence[str]) -> list[TaskId]:
    """The tasks of these groups that were written to Label Studio."""
    with store.database.read() as db:
        written = list_acceptances(db, now.project.id, (SENT, WRITTEN))
    return [
        item.task
        for item in written
        if _group(regions_from_json(item.result), now.config) in groups
    ]


def reserved(project_id: int, task: TaskId) -> bool:
    """Whether a task is left to people whatever is suggested: the same answer at every look."""
    digest = hashlib.sha256(f"audit {project_id} {task}".encode()).digest()
    return int.from_bytes(digest[:4], "big") < RESERVED * 2**32


def _group(regions: Sequence[StudioRegion], config: LabelConfig) -> str:
    said: list[tuple[str, Value]] = []
    for control in config.controls:
        values = list(read_items(control, regions).values())
        if not values and control.absent is not None:
            values = [control.absent]
        said += [(control.name, value) for value in values]
    return group_of(said)
