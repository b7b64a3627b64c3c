"""What the commands share: their settings, their store, and errors as one plain line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails
    from rich.table import Table

    from store.projects.projects import Project
    from store.settings import Settings
    from store.store import Store


MOST_ID = 2**31 - 1  # of Label Studio; the database holds no larger ones


class CommandError(Exception):
    """What is wrong and what to do, in words for a person; `code` is the exit status."""

    def __init__(self, message: str, *, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def load_settings(**given: Any) -> "Settings":
    """The settings from the environment, with `given` in place of it.

    Raises:
        CommandError: with one line for each setting that is wrong.
    """
    from pydantic import ValidationError

    from store.settings import Settings

    try:
        return Settings(**given)
    except ValidationError as error:
        lines = [_one_line(problem) for problem in error.errors(include_input=False)]
        raise CommandError("\n".join(["these settings are wrong:", *lines]), code=2) from None


def _one_line(problem: "ErrorDetails") -> str:
    place = problem["loc"]
    name = _variable(str(place[0])) if place else "settings"
    return f"{name}: {problem['msg'].removeprefix('Value error, ')}"


def _variable(name: str) -> str:
    """The environment variable of a setting, given the field's name or the variable itself."""
    from store.settings import Settings

    field = Settings.model_fields.get(name)
    if field is None or field.validation_alias is not None:
        return name.upper()
    return f"APPRENTICE_{name.upper()}"


@contextmanager
def open_store(settings: "Settings", *, migrate: bool = True) -> Iterator["Store"]:
    """The store within a `with` block.

    Raises:
        CommandError: the database can't be opened.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from store.store import Store

    try:
        store = Store.open(settings, migrate=migrate)
        current = migrate or store.database.is_current()
    except (SQLAlchemyError, OSError) as error:
        raise CommandError(f"the database can't be opened: {first_line(error)}") from error
    if not current:
        store.close()
        raise CommandError(
            "the database is of another version of Apprentice: (re)start `apprentice up`, which "
            "brings it up to date"
        )
    try:
        yield store
    finally:
        store.close()


def find_or_fail(store: "Store", connection: str, project: int) -> "Project":
    """The project by Label Studio's id.

    Raises:
        CommandError: it is not connected.
    """
    from store.projects.projects import find_project

    known = None
    if project <= MOST_ID:
        with store.database.read() as db:
            known = find_project(db, connection, project)
    if known is None:
        raise CommandError(
            f"project {project} is not connected: `apprentice connect --project {project}`"
        )
    return known


@contextmanager
def open_project(connection: str, project: int) -> Iterator[tuple["Store", "Project"]]:
    """The store within a `with` block, and the project by Label Studio's id.

    Raises:
        CommandError: nothing is remembered, or the project is not connected.
    """
    settings = load_settings()
    require_database(settings)
    with open_store(settings, migrate=False) as store:
        yield store, find_or_fail(store, connection, project)


def require_database(settings: "Settings") -> None:
    """Raise CommandError when nothing was remembered: no command shall make an empty store."""
    file = database_file(settings)
    if file is not None and not file.exists():
        raise CommandError(
            f"nothing is remembered in {file.parent} yet: start `apprentice up` "
            "(or set APPRENTICE_HOME)"
        )


@contextmanager
def new_file(out: Path) -> Iterator[Path]:
    """A file to write within a `with` block, that takes `out`'s place once that has succeeded.

    Raises:
        CommandError: it can't be written there; said before the block begins its work.
    """
    part = out if out.exists() and not out.is_file() else out.with_name(f".{out.name}.part")
    try:
        part.open("a").close()
    except OSError as error:
        raise CommandError(f"{out} can't be written: {error.strerror or error}") from None
    if part is out:  # a device: /dev/stdout
        yield out
        return
    try:
        yield part
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)


def plain_table(*columns: str) -> "Table":
    """An empty table without lines, with these headings."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column)
    return table


def database_file(settings: "Settings") -> Path | None:
    """The file of an SQLite database; None for any other."""
    from sqlalchemy import make_url

    url = make_url(settings.database)
    is_file = url.get_backend_name() == "sqlite" and url.database
    return Path(url.database) if is_file and url.database else None


def first_line(error: BaseException) -> str:
    """The error in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
