"""A real store, empty but for one project; on SQLite, and on a PostgreSQL from PyPI."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.projects.connections import DEFAULT, save_connection
from store.projects.projects import Project, save_project
from store.settings import Settings
from store.store import Store


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = request.getfixturevalue("postgres") if request.param == "postgres" else None
    opened = Store.open(Settings(home=tmp_path / "home", database_url=url), migrate=True)
    yield opened
    opened.close()


@pytest.fixture
def project(store: Store) -> Project:
    def write(db):
        save_connection(db, DEFAULT, "http://studio", "token")
        return save_project(db, DEFAULT, 7, 1000, title="Cats", label_config="<View/>")

    return store.database.write(write)
