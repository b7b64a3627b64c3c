"""Fine-tuned backbones: which there are, what they were tuned from, and what they have seen."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from store.schema import tuned
from store.spaces import TUNED


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned backbone of a project. `created_at` is seconds since 1970."""

    id: int
    project_id: int
    digest: str
    base_backbone: str
    labels: int
    seen: frozenset[int]  # tasks whose labels it was fitted on: there it can't be measured
    held: frozenset[int]  # tasks that only chose when it was good: where no hold-out is, there
    report: dict[str, Any]
    created_at: float

    @property
    def backbone(self) -> str:
        """Its name among the backbones."""
        return TUNED + self.digest


def add_tuned(
    db: Connection,
    project_id: int,
    *,
    digest: str,
    base_backbone: str,
    labels: int,
    seen: Collection[int],
    held: Collection[int],
    report: dict[str, Any],
) -> None:
    """Remember a fine-tuned backbone."""
    known = db.execute(
        select(tuned.c.id).where(tuned.c.project_id == project_id, tuned.c.digest == digest)
    ).first()
    if known is not None:  # the same labels and seed gave the same weights
        return
    db.execute(
        insert(tuned).values(
            project_id=project_id,
            digest=digest,
            base_backbone=base_backbone,
            labels=labels,
            seen=sorted(seen),
            held=sorted(held),
            report=report,
            created_at=time.time(),
        )
    )


def find_tuned(db: Connection, project_id: int, backbone: str) -> Tuned | None:
    """The project's fine-tuned backbone of that name, "tuned:DIGEST"."""
    row = db.execute(
        select(tuned).where(
            tuned.c.project_id == project_id, tuned.c.digest == backbone.removeprefix(TUNED)
        )
    ).first()
    return None if row is None else _record(row)


def last_tuned(db: Connection, project_id: int) -> Tuned | None:
    """The newest, whatever became of it."""
    row = db.execute(
        select(tuned).where(tuned.c.project_id == project_id).order_by(tuned.c.id.desc()).limit(1)
    ).first()
    return None if row is None else _record(row)


def _record(row: Any) -> Tuned:
    sets = {"seen": frozenset(row.seen), "held": frozenset(row.held)}
    return Tuned(**(dict(row._mapping) | sets))
