"""Serialises answers to /predict, and keeps them for the next request of the same tasks."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from backend.app_state import AppState
from backend.http.answer_cache import Answer
from backend.protocol.predict_state import PredictState
from services.suggestions.queue_order import shortlist_score
from store.predictions.publications import PredictionItem, coming_scores
from store.predictions.shortlists import get_shortlist
from store.projects.projects import Project
from store.tasks.units import TaskId
from studio.records.requests import PredictRequest


def serialise(state: PredictState) -> tuple[dict[int, PredictionItem], list[bytes]]:
    """{position: prediction}, and the answer's entries as JSON."""
    items = state.prediction_items()
    return items, entries_of(items, state.version.name, len(state.request.tasks))


def entries_of(items: Mapping[int, PredictionItem], name: str, count: int) -> list[bytes]:
    """The entries of an answer with `count` tasks as JSON: empty ones where there is no item."""
    nothing = _entry([], 1.0, name)
    return [
        _entry(item.result, item.score, name) if (item := items.get(position)) else nothing
        for position in range(count)
    ]


def _entry(result: list[dict[str, Any]], score: float, name: str) -> bytes:
    entry = {"result": result, "score": score, "model_version": name}
    return json.dumps(entry, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def join_entries(entries: Iterable[bytes]) -> bytes:
    """The answer's body."""
    return b'{"results":[' + b",".join(entries) + b"]}"


def shortlist_scores(db: Connection, project_id: int, version_id: int) -> dict[TaskId, float]:
    """{task: score} of the tasks on the shortlist."""
    pending = coming_scores(db, project_id, version_id)
    return {
        task: pending.get(task, shortlist_score(rank))
        for rank, task in enumerate(get_shortlist(db, project_id))
    }


def answer_given_before(
    app_state: AppState, db: Connection, project: Project, request: PredictRequest
) -> bytes | None:
    """The answer, if each of its entries was given before and is the same today."""
    known = app_state.answer_cache.get(project, request.label_config or project.label_config)
    if known is None:
        return None
    answers = known.find(request.tasks, shortlist_scores(db, project.id, known.version.id))
    if answers is None:
        return None
    suggesting = sum(answer.suggests for answer in answers)
    outcomes = app_state.metrics.predictions
    outcomes.labels("suggested").inc(suggesting)
    outcomes.labels("unsure").inc(len(answers) - suggesting)
    return join_entries(answer.body for answer in answers)


def keep_answers(app_state: AppState, state: PredictState, entries: Sequence[bytes]) -> None:
    """Keep the entries of tasks with a suggestion, even an empty one, for the next request."""
    if state.config.reads_task_data:
        return
    label_config = state.request.label_config or state.project.label_config
    kept = app_state.answer_cache.open(state.project, state.version, label_config, state.config)
    kept.add(
        {
            (task := requested.task).ls_id: Answer(
                task.uris,
                state.shortlist_scores.get(task.ls_id),
                entries[requested.position],
                bool(suggestion.result),
            )
            for requested in state.tasks
            if (suggestion := state.suggestions.get(requested.position)) is not None
        }
    )
