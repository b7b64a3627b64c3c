"""Small values that processes share through the database, each under a key with a type.

A key is defined once, beside what its value means.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, bindparam, delete, insert, select, update

from store.database.schema import runtime

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
D = TypeVar("D", bound="DataclassInstance")

_VALUE = select(runtime.c.value).where(runtime.c.name == bindparam("of_name"))

_SET = update(runtime).where(runtime.c.name == bindparam("of_name"))


def _unchanged(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Key(Generic[T]):
    """The key of one value.

    Attributes:
        name: as stored.
        from_json: makes the value of what is stored.
        to_json: the inverse.
    """

    name: str
    from_json: Callable[[Any], T | None] = _unchanged
    to_json: Callable[[T], Any] = _unchanged

    def get(self, db: Connection) -> T | None:
        """The value; None when there is none."""
        stored = db.execute(_VALUE, {"of_name": self.name}).scalar()
        return None if stored is None else self.from_json(stored)

    def lock(self, db: Connection) -> T | None:
        """The value, which no other transaction changes until this one ends."""
        stored = db.execute(_VALUE.with_for_update(), {"of_name": self.name}).scalar()
        return None if stored is None else self.from_json(stored)

    def set(self, db: Connection, value: T) -> None:
        """Store the value in place of an earlier one."""
        values = {"value": self.to_json(value), "at": time.time()}
        if not db.execute(_SET, {"of_name": self.name, **values}).rowcount:
            db.execute(insert(runtime).values(name=self.name, **values))

    def delete(self, db: Connection) -> None:
        """Delete the value, if there is one."""
        db.execute(delete(runtime).where(runtime.c.name == self.name))


@dataclass(frozen=True)
class ProjectKey(Generic[T]):
    """The keys of one value for each project; as in Key, `prefix` without the project's id."""

    prefix: str
    from_json: Callable[[Any], T | None] = _unchanged
    to_json: Callable[[T], Any] = _unchanged

    def of(self, project_id: int) -> Key[T]:
        """The project's key."""
        return Key(f"{self.prefix}:{project_id}", self.from_json, self.to_json)

    def all(self, db: Connection) -> dict[int, T]:
        """The values of all projects that have one, by project."""
        begin = f"{self.prefix}:"
        rows = db.execute(select(runtime.c.name, runtime.c.value).where(_begins_with(begin)))
        read = {int(row.name.removeprefix(begin)): self.from_json(row.value) for row in rows}
        return {project_id: value for project_id, value in read.items() if value is not None}


def _begins_with(begin: str) -> ColumnElement[bool]:
    return runtime.c.name.startswith(begin, autoescape=True)


def dataclass_key(prefix: str, of: type[D]) -> ProjectKey[D]:
    """The keys of a dataclass for each project.

    A value with other fields, which another version has stored, counts as none.
    """

    def from_json(stored: Any) -> D | None:
        try:
            return of(**stored)
        except TypeError:
            return None

    return ProjectKey(prefix, from_json, asdict)


# When the web process was started last, in seconds since 1970.
WEB_STARTED: Key[float] = Key("web_started")
# The id of this database, made with it: tells two databases apart that look the same.
IDENTITY: Key[str] = Key("identity")
# The embedding space of the backbone that the settings name, once it was opened.
EMBEDDING_SPACE: Key[str] = Key("embedding_space")
# When a project's connection to Label Studio was found to need a repair, in seconds since 1970.
REPAIR: ProjectKey[float] = ProjectKey("repair")
# The host and port by which Label Studio called us last for a project.
CALLED_AS: ProjectKey[str] = ProjectKey("called_as")
# Live workers of the queue "embed", as the scheduler counted them last.
EMBED_WORKERS: Key[int] = Key("embed_workers")
# The newest generation of each of the jobs that help to embed a project.
HELPERS: ProjectKey[list[int]] = ProjectKey("helpers")
