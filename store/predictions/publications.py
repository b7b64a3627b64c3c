"""Publications: predictions to push to Label Studio, stored before the first is pushed.

An external effect can't be rolled back. So a publication is a row with chunks; a chunk that was
tried before is compared with what Label Studio holds, and only the difference is sent.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from store.database.chunks import chunks
from store.database.locks import lock_project
from store.database.schema import prediction, publication, publication_chunk
from store.predictions.publication_reason import PublicationReason
from store.tasks.units import TaskId

CHUNK_ITEMS = 200  # predictions in one request to Label Studio
SHORTLIST_REASONS = (PublicationReason.VERSION, PublicationReason.REST, PublicationReason.REFILL)
SWEPT = "swept"  # the source of a prediction that Label Studio holds no more


@dataclass(frozen=True)
class PredictionItem:
    """A prediction to push. `score` orders the queue, in [0, 1]; `result` may be empty."""

    task: TaskId
    score: float
    result: list[dict[str, Any]]
    withheld: list[dict[str, Any]] | None = None  # the suggestion of a task in the control group


@dataclass(frozen=True)
class Publication:
    """Predictions of one version, pushed or to be pushed."""

    id: int
    project_id: int
    version_id: int
    reason: PublicationReason
    state: str
    seconds: float
    created_at: float


@dataclass(frozen=True)
class Chunk:
    """One request's worth of a publication. `attempts` counts the tries begun."""

    id: int
    items: tuple[PredictionItem, ...]
    attempts: int


def add_publication(
    db: Connection,
    project_id: int,
    version_id: int,
    reason: PublicationReason,
    items: Sequence[PredictionItem],
) -> int:
    """Add a publication. A new version's supersedes those that are pending.

    Returns:
        Its id, which is also the fence of the served pointer.
    """
    if reason == PublicationReason.VERSION:
        lock_project(db, project_id)
        db.execute(
            update(publication)
            .where(publication.c.project_id == project_id, publication.c.state == "pending")
            .values(state="superseded")
        )
    key = db.execute(
        insert(publication).values(
            project_id=project_id,
            version_id=version_id,
            reason=reason,
            state="pending",
            created_at=time.time(),
            seconds=0.0,
        )
    ).inserted_primary_key
    assert key is not None
    publication_id = int(key[0])
    rows = [
        {
            "publication_id": publication_id,
            "position": position,
            "attempts": 0,
            "items": [vars(item) for item in items[start : start + CHUNK_ITEMS]],
        }
        for position, start in enumerate(range(0, len(items), CHUNK_ITEMS))
    ]
    if rows:
        db.execute(insert(publication_chunk), rows)
    return publication_id


def pending_publications(db: Connection, project_id: int) -> list[Publication]:
    """The publications that are still to be pushed, the oldest first."""
    query = select(publication).where(
        publication.c.project_id == project_id, publication.c.state == "pending"
    )
    return [
        Publication(
            id=row.id,
            project_id=row.project_id,
            version_id=row.version_id,
            reason=PublicationReason(row.reason),
            state=row.state,
            seconds=row.seconds,
            created_at=row.created_at,
        )
        for row in db.execute(query.order_by(publication.c.id))
    ]


def is_superseded(db: Connection, publication_id: int) -> bool:
    """Whether a newer version's publication replaced it before all of it was pushed."""
    query = select(publication.c.state).where(publication.c.id == publication_id)
    return db.execute(query).scalar() == "superseded"


def version_is_pending(db: Connection, project_id: int, since: float) -> bool:
    """Whether a version that was made after `since` is still on its way to Label Studio."""
    query = select(publication.c.id).where(
        publication.c.project_id == project_id,
        publication.c.state == "pending",
        publication.c.reason == PublicationReason.VERSION,
        publication.c.created_at > since,
    )
    return db.execute(query).first() is not None


def next_chunk(db: Connection, publication_id: int) -> Chunk | None:
    """The first chunk that was not sent; None when all were."""
    row = db.execute(
        select(publication_chunk)
        .where(
            publication_chunk.c.publication_id == publication_id,
            publication_chunk.c.sent_at.is_(None),
        )
        .order_by(publication_chunk.c.position)
        .limit(1)
    ).first()
    if row is None:
        return None
    return Chunk(
        row.id, tuple(PredictionItem(**item) for item in row._mapping["items"]), row.attempts
    )


def begin_chunk(db: Connection, chunk: Chunk) -> None:
    """Count a try, before the chunk is sent."""
    db.execute(
        update(publication_chunk)
        .where(publication_chunk.c.id == chunk.id)
        .values(attempts=publication_chunk.c.attempts + 1)
    )


def was_begun(db: Connection, version_id: int, but: int) -> bool:
    """Whether another publication of the version than `but` has begun to send a chunk."""
    query = (
        select(publication_chunk.c.id)
        .join(publication)
        .where(
            publication.c.version_id == version_id,
            publication.c.id != but,
            publication_chunk.c.attempts > 0,
        )
    )
    return db.execute(query.limit(1)).first() is not None


def end_chunk(
    db: Connection,
    published: Publication,
    chunk: Chunk,
    seconds: float,
    *,
    sent: Sequence[PredictionItem],
    existing: Sequence[PredictionItem] = (),
) -> None:
    """Mark a chunk as sent, and add the seconds of Label Studio's time that it took.

    Args:
        sent: the predictions that Label Studio was given now.
        existing: those that it held already; what is stored of them stays.
    """
    db.execute(
        update(publication_chunk)
        .where(publication_chunk.c.id == chunk.id)
        .values(sent_at=time.time())
    )
    db.execute(
        update(publication)
        .where(publication.c.id == published.id)
        .values(seconds=publication.c.seconds + seconds)
    )
    query = select(prediction.c.task_ls_id).where(
        prediction.c.project_id == published.project_id,
        prediction.c.version_id == published.version_id,
        prediction.c.task_ls_id.in_([item.task for item in existing]),
        prediction.c.source != SWEPT,
    )
    existing_tasks = set(db.execute(query).scalars())
    new = [*sent, *(item for item in existing if item.task not in existing_tasks)]
    save_predictions(db, published.project_id, published.version_id, new, "pushed")


def end_publication(db: Connection, publication_id: int) -> None:
    """Mark the publication as done: Label Studio holds all of it."""
    db.execute(
        update(publication)
        .where(publication.c.id == publication_id)
        .values(state="done", done_at=time.time())
    )


def published_tasks(db: Connection, publication_id: int) -> set[TaskId]:
    """The tasks of a publication."""
    query = select(publication_chunk.c["items"]).where(
        publication_chunk.c.publication_id == publication_id
    )
    return {item["task"] for items in db.execute(query).scalars() for item in items}


def save_predictions(
    db: Connection, project_id: int, version_id: int, items: Collection[PredictionItem], source: str
) -> None:
    """Store predictions that Label Studio was given, in place of the version's earlier ones."""
    for ids in chunks([item.task for item in items]):
        db.execute(
            delete(prediction).where(
                prediction.c.project_id == project_id,
                prediction.c.version_id == version_id,
                prediction.c.task_ls_id.in_(ids),
            )
        )
    rows = [
        {
            "project_id": project_id,
            "version_id": version_id,
            "task_ls_id": item.task,
            "score": item.score,
            "result": item.result,
            "withheld": item.withheld,
            "source": source,
            "at": time.time(),
        }
        for item in {item.task: item for item in items}.values()
    ]
    if rows:
        db.execute(insert(prediction), rows)


def predicted_tasks(db: Connection, project_id: int, version_id: int) -> set[TaskId]:
    """The tasks for which Label Studio holds a prediction of the version."""
    query = select(prediction.c.task_ls_id).where(
        prediction.c.project_id == project_id,
        prediction.c.version_id == version_id,
        prediction.c.source != SWEPT,
    )
    return set(db.execute(query).scalars())


def scores_of(db: Connection, project_id: int, version_id: int) -> dict[TaskId, float]:
    """{task: score in Label Studio} of a version's predictions, pushed or to be pushed."""
    pushed = db.execute(
        select(prediction.c.task_ls_id, prediction.c.score).where(
            prediction.c.project_id == project_id,
            prediction.c.version_id == version_id,
            prediction.c.source != SWEPT,
        )
    )
    coming = coming_scores(db, project_id, version_id)
    return coming | {row.task_ls_id: row.score for row in pushed}


def coming_scores(db: Connection, project_id: int, version_id: int) -> dict[TaskId, float]:
    """{task: score} of the predictions of a version's shortlist that are still to be pushed."""
    pending = db.execute(
        select(publication_chunk.c["items"])
        .join(publication)
        .where(
            publication.c.project_id == project_id,
            publication.c.version_id == version_id,
            publication.c.state == "pending",
            publication.c.reason.in_(SHORTLIST_REASONS),
        )
    ).scalars()
    return {item["task"]: float(item["score"]) for items in pending for item in items}


def latest_predictions(db: Connection, project_id: int) -> dict[TaskId, int]:
    """{task: id of the newest version} of the predictions that Label Studio holds."""
    rows = db.execute(
        select(prediction.c.task_ls_id, prediction.c.version_id)
        .where(prediction.c.project_id == project_id, prediction.c.source != SWEPT)
        .order_by(prediction.c.version_id)
    )
    return {row.task_ls_id: row.version_id for row in rows}
