"""The identity of a store: made once, whoever comes first."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from store.identity import create_identity, read_identity
from store.settings import Settings
from store.store import Store
from tests.support.postgres import PostgresServer


def test_processes_that_start_at_once_make_one_schema_and_one_identity(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    name = postgres_server.create_database()
    url = postgres_server.url(name)

    def start(number: int) -> str:
        settings = Settings(home=tmp_path / str(number), database_url=url)
        store = Store.open(settings, migrate=True)
        try:
            return create_identity(store).database
        finally:
            store.close()

    with ThreadPoolExecutor(4) as pool:
        identities = set(pool.map(start, range(4)))
    postgres_server.drop_database(name)
    assert len(identities) == 1


def test_a_new_database_has_none(tmp_path: Path) -> None:
    store = Store.open(Settings(home=tmp_path))
    assert read_identity(store) is None
    store.close()
