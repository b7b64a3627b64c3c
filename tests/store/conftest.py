"""A real store in an empty folder, with one project."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.connections import DEFAULT, save_connection
from store.projects import Project, save_project
from store.settings import Settings
from store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(Settings(home=tmp_path / "home"), migrate=True)
    yield opened
    opened.close()


@pytest.fixture
def project(store: Store) -> Project:
    def write(db):
        save_connection(db, DEFAULT, "http://studio", "token")
        return save_project(db, DEFAULT, 7, 1000, title="Cats", label_config="<View/>")

    return store.database.write(write)
