"""Settings, store and project as commands open them, with errors as one plain line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.cli.errors import CommandError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from store.projects.projects import Project
    from store.settings import Settings
    from store.store import Store


MAX_ID = 2**31 - 1  # Label Studio's ids; the database holds no larger ones


def load_settings(**overrides: Any) -> "Settings":
    """Load the settings from the environment; `overrides` replace what is set there.

    Raises:
        CommandError: some settings are wrong; the message has one line for each.
    """
    from pydantic import ValidationError

    from store.settings import Settings

    try:
        return Settings(**overrides)
    except ValidationError as error:
        lines = [_one_line(problem) for problem in error.errors(include_input=False)]
        raise CommandError("\n".join(["these settings are wrong:", *lines]), code=2) from None


def _one_line(problem: "ErrorDetails") -> str:
    place = problem["loc"]
    name = _variable(str(place[0])) if place else "settings"
    return f"{name}: {problem['msg'].removeprefix('Value error, ')}"


def _variable(name: str) -> str:
    """The environment variable of a setting, by the field's name or its alias."""
    from store.settings import Settings

    field = Settings.model_fields.get(name)
    if field is None or field.validation_alias is not None:
        return name.upper()
    return f"APPRENTICE_{name.upper()}"


@contextmanager
def open_store(settings: "Settings", *, migrate: bool = True) -> Iterator["Store"]:
    """Open the store for a `with` block.

    Raises:
        CommandError: the database can't be opened, or has the schema of another version.
    """
    import sqlite3

    from sqlalchemy.exc import SQLAlchemyError

    from store.database.faults import explain_fault
    from store.files.permissions import HomeError
    from store.store import Store

    try:
        store = Store.open(settings, migrate=migrate)
        current = migrate or store.database.is_current()
    except HomeError as error:
        raise CommandError(str(error), code=2) from None
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise CommandError(
            f"the database can't be opened: {explain_fault(error)} ({settings.home})"
        ) from error
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


def find_project_by_studio_id(store: "Store", connection: str, project: int) -> "Project | None":
    """Read the project by Label Studio's id; None when it is not connected."""
    from store.projects.projects import find_project

    if project > MAX_ID:
        return None
    with store.database.read() as db:
        return find_project(db, connection, project)


def require_project(store: "Store", connection: str, project: int) -> "Project":
    """Read the project by Label Studio's id.

    Raises:
        CommandError: the project is not connected.
    """
    found = find_project_by_studio_id(store, connection, project)
    if found is None:
        raise CommandError(
            f"project {project} is not connected: `apprentice connect --project {project}`"
        )
    return found


@contextmanager
def open_project(connection: str, project: int) -> Iterator[tuple["Store", "Project"]]:
    """Open the store for a `with` block, and read the project by Label Studio's id.

    Raises:
        CommandError: there is no database yet, or the project is not connected.
    """
    settings = load_settings()
    require_database(settings)
    with open_store(settings, migrate=False) as store:
        yield store, require_project(store, connection, project)


def require_database(settings: "Settings") -> None:
    """Raise CommandError when there is no database: a command must not create an empty one."""
    file = database_file(settings)
    if file is not None and not file.exists():
        raise CommandError(
            f"nothing is remembered in {file.parent} yet: start `apprentice up` "
            "(or set APPRENTICE_HOME)"
        )


def database_file(settings: "Settings") -> Path | None:
    """The file of an SQLite database; None for other databases."""
    from sqlalchemy import make_url

    url = make_url(settings.database)
    is_file = url.get_backend_name() == "sqlite" and url.database
    return Path(url.database) if is_file and url.database else None
