"""Goals: the wanted accuracy, and the share of accepted suggestions that may be wrong."""

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from store.database.schema import goal


@dataclass(frozen=True)
class Goal:
    """A project's goal. Shares are 0 to 1; without `accept_error` nothing is accepted."""

    accuracy: float | None = None  # to be reached
    accept_error: float | None = None  # that accepted suggestions may be wrong in
    accept_writes: bool = False  # as annotations in Label Studio, not only marked here
    changed_at: float = 0.0  # seconds since 1970; 0 when nobody set anything


def get_goal(db: Connection, project_id: int) -> Goal:
    """The project's goal; an empty one when nobody set any."""
    row = db.execute(select(goal).where(goal.c.project_id == project_id)).first()
    if row is None:
        return Goal()
    return Goal(row.accuracy, row.accept_error, row.accept_writes, row.changed_at)


def change_goal(db: Connection, project_id: int, **values: Any) -> Goal:
    """Set fields of the goal; the others stay.

    Raises:
        ValueError: a share is not between 0 and 1.
    """
    for name in ("accuracy", "accept_error"):
        share = values.get(name)
        if share is not None and not 0 < share < 1:
            raise ValueError(f"{name} must be between 0 and 1, not {share:g}")
    values["changed_at"] = time.time()
    changed = db.execute(update(goal).where(goal.c.project_id == project_id).values(**values))
    if not changed.rowcount:
        db.execute(
            insert(goal).values(**({"accept_writes": False} | values | {"project_id": project_id}))
        )
    return get_goal(db, project_id)
