"""What was drawn at random: the picks by which everything is measured."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from store.schema import selection

RANDOM = "random"  # the strategy's name


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
