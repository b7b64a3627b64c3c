"""Fine-tuned backbones, with their pretrained backbones and the tasks that they were trained on."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from store.database.schema import tuned
from store.projects.embedding_spaces import TUNED


@dataclass(frozen=True)
class FinetunedBackbone:
    """A fine-tuned backbone of a project. Times are seconds since 1970."""

    id: int
    project_id: int
    digest: str
    base_backbone: str
    labels: int
    training_tasks: frozenset[int]  # whose labels it was fitted on: there it can't be evaluated
    validation_tasks: frozenset[int]  # where it is evaluated as long as there is no hold-out
    report: dict[str, Any]
    created_at: float
    retired_at: float | None
    cleared_at: float | None

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
    training_tasks: Collection[int],
    validation_tasks: Collection[int],
    report: dict[str, Any],
) -> None:
    """Add a fine-tuned backbone."""
    existing = db.execute(
        select(tuned.c.id).where(tuned.c.project_id == project_id, tuned.c.digest == digest)
    ).first()
    if existing is not None:  # the same labels and seed gave the same weights
        anew = {"created_at": time.time(), "retired_at": None, "cleared_at": None}
        db.execute(update(tuned).where(tuned.c.id == existing.id).values(anew))
        return
    db.execute(
        insert(tuned).values(
            project_id=project_id,
            digest=digest,
            base_backbone=base_backbone,
            labels=labels,
            seen=sorted(training_tasks),
            held=sorted(validation_tasks),
            report=report,
            created_at=time.time(),
        )
    )


def find_tuned(db: Connection, project_id: int, backbone: str) -> FinetunedBackbone | None:
    """The project's fine-tuned backbone of that name, "tuned:DIGEST"."""
    row = db.execute(
        select(tuned).where(
            tuned.c.project_id == project_id, tuned.c.digest == backbone.removeprefix(TUNED)
        )
    ).first()
    return None if row is None else _record(row)


def may_be_served(db: Connection, project_id: int, backbone: str, *, lock: bool = False) -> bool:
    """Whether the backbone "tuned:DIGEST" is kept; with `lock`, until the transaction ends."""
    query = select(tuned.c.retired_at).where(
        tuned.c.project_id == project_id, tuned.c.digest == backbone.removeprefix(TUNED)
    )
    row = db.execute(query.with_for_update() if lock else query).first()
    return row is None or row.retired_at is None


def list_uncleared(
    db: Connection, project_id: int, *, lock: bool = False
) -> list[FinetunedBackbone]:
    """The fine-tuned backbones that aren't deleted; with `lock`, no transaction uses another."""
    asked = select(tuned).where(tuned.c.project_id == project_id, tuned.c.cleared_at.is_(None))
    rows = db.execute(asked.order_by(tuned.c.id).with_for_update() if lock else asked)
    return [_record(row) for row in rows]


def is_shared(db: Connection, backbone: FinetunedBackbone) -> bool:
    """Whether another project's fine-tuning gave the same weights, and may need them."""
    row = db.execute(
        select(tuned.c.id).where(
            tuned.c.digest == backbone.digest,
            tuned.c.project_id != backbone.project_id,
            tuned.c.retired_at.is_(None),
        )
    ).first()
    return row is not None


def retire_tuned(db: Connection, backbone: FinetunedBackbone) -> None:
    """Mark the backbone as about to be deleted: nothing may be served with it any more."""
    _mark(db, backbone, retired_at=time.time())


def mark_cleared(db: Connection, backbone: FinetunedBackbone) -> None:
    """Mark its weights and embeddings as deleted."""
    _mark(db, backbone, cleared_at=time.time())


def _mark(db: Connection, backbone: FinetunedBackbone, **values: float) -> None:
    db.execute(update(tuned).where(tuned.c.id == backbone.id).values(**values))


def is_kept(db: Connection, digest: str) -> bool:
    """Whether any project has a fine-tuned backbone of that digest that isn't deleted."""
    of_digest = (tuned.c.digest == digest, tuned.c.cleared_at.is_(None))
    return db.execute(select(tuned.c.id).where(*of_digest)).first() is not None


def _record(row: Any) -> FinetunedBackbone:
    values = dict(row._mapping)
    training, validation = frozenset(values.pop("seen")), frozenset(values.pop("held"))
    return FinetunedBackbone(training_tasks=training, validation_tasks=validation, **values)
