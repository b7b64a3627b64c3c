"""What was chosen to be labelled next, and what of it was drawn at random: the picks by which
everything is measured.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, update

from store.database.schema import selection

RANDOM = "random"  # the strategy's name


@dataclass(frozen=True)
class Choice:
    """A task chosen to be labelled next. `probability` of being picked, where it is known."""

    task: int
    strategy: str
    probability: float | None


@dataclass(frozen=True)
class Draw:
    """A task that was drawn, when (seconds since 1970), and with what probability."""

    at: float
    probability: float | None


def drawn_tasks(db: Connection, project_id: int) -> dict[int, Draw]:
    """{task: its draw} of all tasks that were drawn and not chosen since, labelled ones too."""
    latest = (
        select(func.max(selection.c.id))
        .where(selection.c.project_id == project_id)
        .group_by(selection.c.task_ls_id)
    )
    still = select(selection.c.task_ls_id).where(
        selection.c.id.in_(latest), selection.c.strategy == RANDOM
    )
    rows = db.execute(
        select(
            selection.c.task_ls_id,
            func.min(selection.c.created_at).label("at"),
            func.min(selection.c.probability).label("probability"),
        )
        .where(
            selection.c.project_id == project_id,
            selection.c.strategy == RANDOM,
            selection.c.task_ls_id.in_(still),
        )
        .group_by(selection.c.task_ls_id)
    )
    return {row.task_ls_id: Draw(row.at, row.probability) for row in rows}


def set_shortlist(
    db: Connection, project_id: int, version_id: int, choices: Sequence[Choice]
) -> None:
    """Make `choices`, in order, the project's shortlist; older ones are history."""
    db.execute(
        update(selection)
        .where(selection.c.project_id == project_id, selection.c.active)
        .values(active=False)
    )
    now = time.time()
    rows = [
        {
            "project_id": project_id,
            "version_id": version_id,
            "task_ls_id": choice.task,
            "rank": rank,
            "strategy": choice.strategy,
            "probability": choice.probability,
            "created_at": now,
            "active": True,
        }
        for rank, choice in enumerate(choices)
    ]
    if rows:
        db.execute(insert(selection), rows)


def get_shortlist(db: Connection, project_id: int) -> list[int]:
    """The tasks of today's shortlist in order, labelled ones too."""
    query = (
        select(selection.c.task_ls_id)
        .where(selection.c.project_id == project_id, selection.c.active)
        .order_by(selection.c.rank)
    )
    return list(db.execute(query).scalars())
