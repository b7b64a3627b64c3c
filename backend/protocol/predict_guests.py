"""Adds the suggestions of guest models to the answers of /predict."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog
from sqlalchemy import Connection

from backend.app_state import AppState
from backend.http.request_bodies import RequestError
from backend.protocol.predict_answer import entries_of, join_entries
from backend.protocol.predict_request import parse_tasks
from backend.protocol.predict_state import PredictState
from services.guests.project_guests import Answers, ProjectGuests, confidence_of, project_guests
from services.suggestions.control_group import in_control_group
from services.suggestions.queue_order import rest_score
from store.predictions.pending_answers import add_pending_answers
from store.predictions.publications import PredictionItem, save_predictions
from store.projects.projects import Project, find_project
from store.tasks.tasks import TaskRecord, save_tasks
from store.tasks.units import TaskId
from store.versions.versions import Version, get_version, version_name
from store.work.pending_work import want
from store.work.work_kind import WorkKind
from studio.config import LabelConfig, parse_label_config
from studio.records.requests import PredictRequest
from worker.guests.access import GuestAccess
from worker.guests.priority import ASKED, INTERACTIVE

log = structlog.get_logger()

RETRY_AFTER = 5  # seconds


@dataclass(frozen=True)
class _Asked:
    """A request whose project has guests."""

    project: Project
    version: Version | None  # the served one
    guests: ProjectGuests
    config: LabelConfig

    @property
    def name(self) -> str:
        """The name of the served version, as /setup says it."""
        return self.version.name if self.version else version_name(0)

    def is_ours_alone(self, request: PredictRequest) -> bool:
        """Whether an annotator's regions are all of controls that we learn."""
        names = _region_names(request.params.get("context"))
        return bool(names) and all(self.config.control(name) for name in names)


def _region_names(context: Any) -> list[str]:
    result = context.get("result") if isinstance(context, dict) else None
    regions = result if isinstance(result, list) else []
    return [str(each.get("from_name")) for each in regions if isinstance(each, dict)]


async def answer_alone(
    app_state: AppState, connection_id: str, request: PredictRequest, deadline: float
) -> bytes | None:
    """The answer where guests give all of it; None where our own suggestions belong to it.

    They give it to an annotator who draws with a smart tool, and while nothing of ours is served.

    Raises:
        RequestError: 503, no guest has an answer, and there will never be one of ours.
    """
    access = app_state.guests
    assert access is not None, "asked only where there are guests"
    asked = await app_state.read(lambda db: _read(db, access, connection_id, request))
    if asked is None:
        return None
    if request.interactive and request.tasks and not asked.is_ours_alone(request):
        return await _interact(access, asked, request, deadline)
    nothing_of_ours = asked.version is None or asked.version.artifact is None
    if request.interactive or (asked.config.controls and not nothing_of_ours):
        return None
    tasks, malformed = parse_tasks(request, asked.config)
    if malformed.total:
        count, examples = malformed.total, str(malformed)
        log.warning("malformed tasks", project=asked.project.id, count=count, reasons=examples)
    records = {requested.position: requested.task for requested in tasks}
    answers, reasons = await _answers(app_state, asked.guests, request, records, deadline)
    if not any(answers.values()):
        if asked.config.controls:
            return None
        reason = reasons[0] if reasons else "the guests are being started"
        raise RequestError(503, f"no suggestion: {reason}", retry_after=RETRY_AFTER)
    items = {
        task: PredictionItem(task, rest_score(confidence_of(given)), asked.guests.merge([], given))
        for task, given in answers.items()
    }
    await app_state.write(
        lambda db: _save(db, asked, list(records.values()), items, asked.guests.incomplete(answers))
    )
    by_position = {position: items[record.ls_id] for position, record in records.items()}
    return join_entries(entries_of(by_position, asked.name, len(request.tasks)))


async def add(
    app_state: AppState,
    state: PredictState,
    items: dict[int, PredictionItem],
    deadline: float,
) -> tuple[dict[int, PredictionItem], list[bytes]]:
    """Add the guests' suggestions to ours, control by control.

    Returns:
        {position: item}, and the answer's entries as JSON.

    Tasks of the control group get none. A guest that gives no answer changes nothing now: the tasks
    that lack its part are noted in `state`.
    """
    access = app_state.guests
    assert access is not None, "asked only where there are guests"
    guests = await app_state.read(lambda db: project_guests(db, access.specs, state.project))
    name, count = state.version.name, len(state.request.tasks)
    if guests is None:
        return items, entries_of(items, name, count)
    records = {requested.position: requested.task for requested in state.tasks}
    answers, reasons = await _answers(app_state, guests, state.request, records, deadline)
    if reasons:
        log.warning("guests without an answer", project=state.project.id, reason=reasons[0])
    merged = {}
    for position, item in items.items():
        given = answers.get(item.task, {})
        hidden = in_control_group(state.project, item.task, state.blind_share)
        result = item.result if hidden else guests.merge(item.result, given)
        merged[position] = replace(item, result=result)
        if not hidden and len(given) < len(guests.specs):
            state.lacking.add(item.task)
    return merged, entries_of(merged, name, count)


def _read(
    db: Connection, access: GuestAccess, connection_id: str, request: PredictRequest
) -> _Asked | None:
    ref = request.project
    project = find_project(db, connection_id, ref.ls_id, ref.ls_created)
    if project is None:
        return None
    guests = project_guests(db, access.specs, project)
    if guests is None:
        return None
    version = get_version(db, project.served_version_id) if project.served_version_id else None
    config = parse_label_config(request.label_config or project.label_config)
    return _Asked(project, version, guests, config)


async def _answers(
    app_state: AppState,
    guests: ProjectGuests,
    request: PredictRequest,
    records: Mapping[int, TaskRecord],
    deadline: float,
) -> tuple[Answers, list[str]]:
    """The guests' suggestions for tasks, and why some are missing."""
    access = app_state.guests
    assert access is not None, "asked only where there are guests"
    data = {record.ls_id: record.data for record in records.values()}
    answers = await app_state.bulk_pool.run(guests.stored, access.predictions, data)
    tasks = {record.ls_id: request.tasks[position] for position, record in records.items()}
    params = {name: value for name, value in request.params.items() if name != "context"}
    until = min(deadline, time.monotonic() + app_state.settings.guest_seconds)
    reasons = await access.complete(guests, answers, tasks, until, priority=ASKED, params=params)
    return answers, reasons


async def _interact(
    access: GuestAccess, asked: _Asked, request: PredictRequest, deadline: float
) -> bytes:
    """The answer for a smart tool: Label Studio takes an object in the list, even of nothing."""
    answer, reasons = await access.interact(
        asked.guests, request.tasks[0], deadline, priority=INTERACTIVE, params=request.params
    )
    if reasons:
        log.warning("guests without an answer", project=asked.project.id, reason=reasons[0])
    result = answer.regions if answer else []
    score = answer.score if answer and answer.score is not None else 1.0
    item = PredictionItem(TaskId(0), score, result)
    return join_entries(entries_of({0: item}, asked.name, 1))


def _save(
    db: Connection,
    asked: _Asked,
    records: list[TaskRecord],
    items: Mapping[TaskId, PredictionItem],
    incomplete: list[TaskId],
) -> None:
    """Store what Label Studio is given, and which tasks are to be answered again."""
    project_id = asked.project.id
    save_tasks(db, project_id, records)
    if asked.version is not None:
        save_predictions(db, project_id, asked.version.id, list(items.values()), "answered")
        if incomplete:
            add_pending_answers(db, project_id, incomplete)
            want(db, project_id, WorkKind.PREDICT)
