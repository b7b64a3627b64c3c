"""Accepts suggestions automatically, where a team has set an error target.

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
from typing import Any

import numpy as np
import structlog
from sqlalchemy import Connection

from model.active_learning.advice import AuditedPick
from model.active_learning.auto_accept import OFF, ON, Audited, Rule, decide
from model.targets.kind import value_json
from services.advice import advice_of_version
from services.job_context import JobContext
from services.labels.answer_groups import group_of
from services.labels.multi_image import parts_of
from services.snapshot import Snapshot
from services.suggestions.predictor import Predictor
from services.suggestions.suggest import suggest_to_all
from store.files.artifacts import ArtifactError
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
from store.projects.projects import Project
from store.store import Store
from store.tasks.accept_marks import marked
from store.tasks.units import TaskId
from store.versions.versions import REFUSED, Version, get_version, newest_version
from store.work import pending_work
from store.work.work_kind import WorkKind
from studio.config import LabelConfig
from studio.items import read_items
from studio.regions import StudioRegion, regions_to_json

log = structlog.get_logger()

CHUNK = 5_000  # tasks whose embeddings are in memory at a time
ROWS = 2_000  # written at a time: webhooks wait for it
RESERVED = 0.1  # of what the rule takes: it stays in the queue


@dataclass(frozen=True)
class RuleStatus:
    """The rule for accepting suggestions, and the reason when nothing is accepted."""

    rule: Rule
    reason: str | None


NOTHING = Rule(OFF, None, None, 0, 0, (), 0)


def accepting_version(db: Connection, project: Project) -> Version | None:
    """The version whose suggestions are accepted: the newest, or if refused, the served one.

    The newest one is on its way to Label Studio while it isn't served.
    """
    newest = newest_version(db, project.id)
    if newest is None or newest.status != REFUSED:
        return newest
    return get_version(db, project.served_version_id) if project.served_version_id else None


def rule_status(
    goal: Goal, picks: Sequence[AuditedPick], config: LabelConfig, *, pinned: bool = False
) -> RuleStatus:
    """Decide the rule by the random picks of the version whose suggestions are accepted.

    Args:
        pinned: a person chose the served version. The picks are those of a newer one.
    """
    if goal.accept_error is None:
        return RuleStatus(NOTHING, "no error target is set")
    if config.skipped:
        names = ", ".join(repr(item.name) for item in config.skipped)
        return RuleStatus(NOTHING, f"a person has to fill in {names}, which is not learned")
    audited = Audited(
        np.array([pick.confidence for pick in picks], np.float64),
        np.array([pick.wrong for pick in picks], np.bool_),
        np.array([pick.group for pick in picks], np.str_),
    )
    rule = decide(audited, goal.accept_error)
    if pinned:
        why = "the served version was chosen by a person, and the random picks tell of newer ones"
        return RuleStatus(replace(rule, state=OFF, threshold=None), why)
    return RuleStatus(rule, None)


@dataclass(frozen=True)
class PassBasis:
    """The inputs of a pass over the open tasks; equal inputs give the same result."""

    version: int | None
    goal: float  # when it was changed, in seconds since 1970
    threshold: float | None
    excluded: list[str]
    broken: list[str]
    stays: float | None
    tasks: int | None  # None while some images aren't embedded yet


LAST_PASS = dataclass_key("accepted", PassBasis)


def accept(context: JobContext, snapshot: Snapshot) -> None:
    """Accept suggestions of open tasks by the rule, and withdraw those that don't keep it.

    It is written in parts, and the basis with the last one: a pass that was interrupted is made
    again. Raises LeaseLostError.
    """
    store, project_id = context.store, snapshot.project.id
    with store.database.read() as db:
        goal, counts = get_goal(db, project_id), count_acceptances(db, project_id)
        if goal.accept_error is None and not counts:
            return
        version = accepting_version(db, snapshot.project)
        advice = advice_of_version(db, version.id) if version is not None else None
        last = LAST_PASS.of(project_id).get(db)
    pinned = snapshot.project.held_at is not None
    rule = rule_status(goal, advice.picks if advice else (), snapshot.config, pinned=pinned).rule
    basis = _basis(snapshot, version, goal, rule)
    if basis == last:
        return
    accepted: list[Acceptance] = []
    if rule.state == ON and version is not None and version.artifact is not None:
        accepted = _accepted(store, snapshot, version, rule, goal)
    broken = _of_groups(store, snapshot, rule.broken) if rule.broken else []
    withdrawn = _write(context, project_id, accepted, rule, broken, basis)
    log.info("suggestions accepted", state=rule.state, tasks=len(accepted), withdrawn=withdrawn)


def _basis(snapshot: Snapshot, version: Version | None, goal: Goal, rule: Rule) -> PassBasis:
    waiting = any(task.usable and task.embedded_space != snapshot.space for task in snapshot.tasks)
    return PassBasis(
        version=version.id if version is not None else None,
        goal=goal.changed_at,
        threshold=rule.threshold if rule.state == ON else None,
        excluded=list(rule.excluded),
        broken=list(rule.broken),
        stays=rule.stays if rule.stays < math.inf else None,
        tasks=len(snapshot.tasks) if not waiting else None,
    )


def _write(
    context: JobContext,
    project_id: int,
    accepted: Sequence[Acceptance],
    rule: Rule,
    broken: Sequence[TaskId],
    basis: PassBasis,
) -> int:
    """Write a pass in parts, so that webhooks can come between. Returns how many are withdrawn."""
    database = context.store.database

    def give_up(db: Connection) -> int:
        pending_work.check(db, context.lease)
        LAST_PASS.of(project_id).delete(db)
        delete_unwritten(db, project_id)
        withdrawn = withdraw(db, project_id, rule.stays, broken)
        if withdrawn:
            pending_work.want(db, project_id, WorkKind.PUBLISH)
        return withdrawn

    def add(db: Connection, part: Sequence[Acceptance]) -> None:
        pending_work.check(db, context.lease)
        add_acceptances(db, project_id, part)

    def finish(db: Connection) -> None:
        pending_work.check(db, context.lease)
        LAST_PASS.of(project_id).set(db, basis)
        if any(item.state == WANTED for item in accepted):
            pending_work.want(db, project_id, WorkKind.PUBLISH)

    withdrawn = database.write(give_up)
    for start in range(0, len(accepted), ROWS):
        database.write(partial(add, part=accepted[start : start + ROWS]))
    database.write(finish)
    return withdrawn


def _accepted(
    store: Store, snapshot: Snapshot, version: Version, rule: Rule, goal: Goal
) -> list[Acceptance]:
    try:
        predictor = Predictor.load(store, version)
    except ArtifactError as error:
        log.warning("a version can't be read; nothing of it is accepted", error=str(error))
        return []
    if not all(map(predictor.learned, snapshot.config.controls)):
        return []  # half an answer is none
    with store.database.read() as db:
        shortlist = set(get_shortlist(db, snapshot.project.id))
    free = [
        task
        for task in snapshot.open
        if task.ls_id not in shortlist
        and task.ls_id not in snapshot.drawn
        and not reserved(snapshot.project.id, task.ls_id)
    ]
    if snapshot.config.multi_image:  # of what is not all seen, nothing is accepted
        partly = {image.ls_id for image in snapshot.images if not image.usable}
        free = [task for task in free if task.ls_id not in partly]
    state = WANTED if goal.accept_writes else MARKED
    taken: list[Acceptance] = []
    for part in parts_of(free, CHUNK, attrgetter("ls_id")):
        suggestions = suggest_to_all(store, snapshot.project, part, predictor, snapshot.config, 0.0)
        tasks = [task for task, answer in suggestions.items() if answer.result]
        confidences = np.array([suggestions[task].confidence for task in tasks], np.float64)
        groups = np.array(
            [_group(suggestions[task].result, snapshot.config) for task in tasks], np.str_
        )
        for index in np.flatnonzero(rule.takes(confidences, groups)):
            task = tasks[index]
            result = marked(regions_to_json(suggestions[task].result))
            confidence = round(suggestions[task].confidence, 5)
            taken.append(Acceptance(task, version.id, confidence, result, state, None, time.time()))
    return taken


def _of_groups(store: Store, snapshot: Snapshot, groups: Sequence[str]) -> list[TaskId]:
    """The tasks of these groups whose suggestion was written to Label Studio."""
    with store.database.read() as db:
        written = list_acceptances(db, snapshot.project.id, (SENT, WRITTEN))
    return [
        item.task
        for item in written
        if _group(snapshot.config.regions(item.result), snapshot.config) in groups
    ]


def reserved(project_id: int, task: TaskId) -> bool:
    """Whether a task is always left to people, drawn by a hash of its id."""
    digest = hashlib.sha256(f"audit {project_id} {task}".encode()).digest()
    return int.from_bytes(digest[:4], "big") < RESERVED * 2**32


def _group(regions: Sequence[StudioRegion], config: LabelConfig) -> str:
    values_of_controls: list[tuple[str, Any]] = []
    for control in config.controls:
        values = list(read_items(control, regions).values())
        if not values and control.absent is not None:
            values = [control.absent]
        plain = [value_json(control.schema, value) for value in values]
        values_of_controls += [(control.name, value) for value in plain]
    return group_of(values_of_controls)
