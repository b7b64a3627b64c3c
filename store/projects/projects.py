"""Projects, one for each (connection, id, time of creation) in Label Studio."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, insert, select, update

from store.database.locks import lock_project
from store.database.schema import project
from store.tasks.labelled import clear_labelled


@dataclass(frozen=True)
class Project:
    """A Label Studio project that we learn for. Times are seconds since 1970."""

    id: int
    connection_id: str
    ls_id: int
    ls_created: int
    title: str
    label_config: str
    reason: str | None
    connected_at: float | None
    gone_at: float | None
    found: dict[str, Any] | None
    backend_id: int | None
    webhook_id: int | None
    tasks_cursor: float | None
    listed_at: float | None
    reconciled_at: float | None
    backbone: str | None
    base_backbone: str | None
    embedding_space: str | None
    next_backbone: str | None
    next_space: str | None
    next_error: str | None
    next_retry_at: float | None
    served_version_id: int | None
    served_fence: int
    held_at: float | None
    renames: dict[str, Any] | None = None


def _record(row: Row[Any]) -> Project:
    return Project(**row._mapping)


def get_project(db: Connection, project_id: int, *, lock: bool = False) -> Project | None:
    """The project by our own id.

    Args:
        lock: let nobody else change it before this transaction ends.
    """
    if lock:
        lock_project(db, project_id)
    row = db.execute(select(project).where(project.c.id == project_id)).first()
    return None if row is None else _record(row)


def find_project(
    db: Connection, connection_id: str, ls_id: int, ls_created: int | None = None
) -> Project | None:
    """The project by Label Studio's id; the newest one when `ls_created` is not known.

    A project that is gone is found only with its `ls_created`.
    """
    parameters = {"connection": connection_id, "id": ls_id, "created": ls_created}
    query = _NEWEST if ls_created is None else _EXACT
    row = db.execute(query, parameters).first()
    return None if row is None else _record(row)


_OF_ID = select(project).where(
    project.c.connection_id == bindparam("connection"), project.c.ls_id == bindparam("id")
)
# One that only a request names comes after those that Label Studio has confirmed.
_NEWEST = _OF_ID.where(project.c.gone_at.is_(None)).order_by(
    and_(project.c.connected_at.is_(None), project.c.reconciled_at.is_(None)),
    project.c.ls_created.desc(),
)
_EXACT = _OF_ID.where(project.c.ls_created == bindparam("created"))


def list_projects(db: Connection, *, gone: bool = False) -> list[Project]:
    """All projects in Label Studio (with `gone`, deleted ones too)."""
    query = select(project).order_by(project.c.id)
    if not gone:
        query = query.where(project.c.gone_at.is_(None))
    return [_record(row) for row in db.execute(query)]


def save_project(
    db: Connection,
    connection_id: str,
    ls_id: int,
    ls_created: int,
    *,
    title: str = "",
    label_config: str = "",
) -> Project:
    """Create the project, or bring its title and label config up to date.

    Older projects of the same id are gone: Label Studio reused the id.
    """
    existing = find_project(db, connection_id, ls_id, ls_created)
    if existing is not None:  # what is not given stays as it is
        existing = get_project(db, existing.id, lock=True)
    if existing is None:
        mark_older_gone(db, connection_id, ls_id, ls_created)
        key = db.execute(
            insert(project).values(
                connection_id=connection_id,
                ls_id=ls_id,
                ls_created=ls_created,
                title=title,
                label_config=label_config,
                served_fence=0,
            )
        ).inserted_primary_key
        assert key is not None
        project_id = int(key[0])
    else:
        project_id = existing.id
        if label_config and label_config != existing.label_config:
            clear_labelled(db, project_id)
        db.execute(
            update(project)
            .where(project.c.id == project_id)
            .values(
                title=title or existing.title, label_config=label_config or existing.label_config
            )
        )
    saved = get_project(db, project_id)
    assert saved is not None
    return saved


def mark_older_gone(db: Connection, connection_id: str, ls_id: int, ls_created: int) -> None:
    """Mark older projects of the same id as gone: Label Studio reused the id."""
    db.execute(
        update(project)
        .where(
            project.c.connection_id == connection_id,
            project.c.ls_id == ls_id,
            project.c.ls_created < ls_created,
            project.c.gone_at.is_(None),
        )
        .values(gone_at=float(ls_created))
    )


def change_project(db: Connection, project_id: int, **values: Any) -> None:
    """Set columns of the project."""
    if not values.keys().isdisjoint({"label_config", "renames"}):
        clear_labelled(db, project_id)
    db.execute(update(project).where(project.c.id == project_id).values(**values))


def is_pinned(db: Connection, project_id: int) -> bool:
    """Whether a person chose the served version, so that no newer one replaces it by itself.

    It stays as it is until the transaction ends.
    """
    lock_project(db, project_id)
    query = select(project.c.held_at).where(project.c.id == project_id)
    return db.execute(query).scalar() is not None


def serve(db: Connection, project_id: int, version_id: int, fence: int) -> bool:
    """Set the served version, unless a newer publication (`fence`) has set it.

    Returns:
        Whether the pointer is ours now.
    """
    result = db.execute(
        update(project)
        .where(project.c.id == project_id, project.c.served_fence <= fence)
        .values(served_version_id=version_id, served_fence=fence)
    )
    return result.rowcount == 1
