"""Shards: fixed parts of a project's images, embedded by whichever worker claims one first.

A shard is a range of rows of `task`, under a number; the plan of a project is made once. Who claims
a shard raises its fence; it is done by the one whose fence is the newest, and by nobody else.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from store.database.shard_schema import embedding_shard
from store.tasks.embedding_queue import ids_to_embed
from store.tasks.space_role import SpaceRole


@dataclass(frozen=True)
class Shard:
    """A claimed shard: the images whose row ids are from `first_id` to `last_id`."""

    project_id: int
    number: int
    space: str
    role: SpaceRole
    first_id: int
    last_id: int
    job: str
    fence: int


@dataclass(frozen=True)
class ShardProgress:
    """The number of a project's shards that are not done, and of those that nobody has claimed."""

    space: str
    role: SpaceRole
    left: int
    unclaimed: int


class ShardLostError(Exception):
    """Another worker has claimed the shard meanwhile, or its plan is gone."""


def plan_shards(db: Connection, project_id: int, space: str, role: SpaceRole, size: int) -> None:
    """Replace the project's shards by those of the images that are not embedded now.

    Args:
        size: images of a shard; the last one has the rest.
    """
    drop_shards(db, project_id)
    ids = ids_to_embed(db, project_id, space, role)
    rows = [
        {
            "project_id": project_id,
            "number": number,
            "space": space,
            "role": role.name,
            "first_id": part[0],
            "last_id": part[-1],
            "fence": 0,
        }
        for number, part in enumerate(_parts(ids, size))
    ]
    if rows:
        db.execute(insert(embedding_shard), rows)


def _parts(ids: Sequence[int], size: int) -> list[Sequence[int]]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def drop_shards(db: Connection, project_id: int) -> None:
    """Delete the project's shards; who works on one finds that it is lost."""
    db.execute(delete(embedding_shard).where(embedding_shard.c.project_id == project_id))


def shard_progress(db: Connection, project_id: int | None = None) -> dict[int, ShardProgress]:
    """{project: progress} of the projects with shards that are not done; or of one project."""
    table = embedding_shard.c
    query = (
        select(
            table.project_id,
            table.space,
            table.role,
            func.count().label("rest"),
            func.count().filter(table.claimed_by.is_(None)).label("unclaimed"),
        )
        .where(table.done_at.is_(None))
        .group_by(table.project_id, table.space, table.role)
    )
    if project_id is not None:
        query = query.where(table.project_id == project_id)
    return {
        row.project_id: ShardProgress(row.space, SpaceRole[row.role], row.rest, row.unclaimed)
        for row in db.execute(query)
    }


def claim_shard(db: Connection, project_id: int, space: str, job: str) -> Shard | None:
    """Claim a shard for a job; None when there is none that nobody has claimed.

    The plan is in the order of import, often class by class, so the order here is a mixed one: the
    first embeddings are to be of all kinds.
    """
    table = embedding_shard.c
    mixed = (table.number * 7919) % 10007
    row = db.execute(
        select(embedding_shard)
        .where(*_open(project_id), table.space == space, table.claimed_by.is_(None))
        .order_by(mixed, table.number)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).first()
    if row is None:
        return None
    fence = row.fence + 1
    db.execute(
        update(embedding_shard)
        .where(table.project_id == project_id, table.number == row.number)
        .values(claimed_by=job, fence=fence)
    )
    role = SpaceRole[row.role]
    return Shard(project_id, row.number, row.space, role, row.first_id, row.last_id, job, fence)


def finish_shard(db: Connection, shard: Shard, worker: str) -> None:
    """Mark the shard as done, in the transaction that writes what came of it.

    Raises:
        ShardLostError: it is another's now.
    """
    table = embedding_shard.c
    done = db.execute(
        update(embedding_shard)
        .where(
            *_open(shard.project_id),
            table.number == shard.number,
            table.space == shard.space,
            table.fence == shard.fence,
            table.claimed_by == shard.job,
        )
        .values(claimed_by=None, done_by=worker, done_at=time.time())
    )
    if not done.rowcount:
        raise ShardLostError(f"shard {shard.number} of project {shard.project_id} is lost")


def release_shards(db: Connection, project_id: int, jobs: Sequence[str]) -> int:
    """Let others claim the shards of jobs that have ended; returns how many there were."""
    released = db.execute(
        update(embedding_shard)
        .where(*_open(project_id), embedding_shard.c.claimed_by.in_(jobs))
        .values(claimed_by=None)
    )
    return released.rowcount


def claiming_jobs(db: Connection, project_id: int) -> list[str]:
    """The jobs that have claimed shards of the project, sorted."""
    query = select(embedding_shard.c.claimed_by).where(
        *_open(project_id), embedding_shard.c.claimed_by.is_not(None)
    )
    return sorted(db.execute(query.distinct()).scalars())


def _open(project_id: int) -> tuple[ColumnElement[bool], ...]:
    return (embedding_shard.c.project_id == project_id, embedding_shard.c.done_at.is_(None))
