"""The data folder and its tokens are their user's alone."""

import os
import stat
from pathlib import Path

import pytest
from sqlalchemy import select, update

from store.database.schema import connection
from store.files.permissions import HomeError, secure_folder
from store.projects.connections import get_connection, list_connections, save_connection
from store.settings import Settings
from store.store import Store

TOKEN = "a-token-that-nobody-else-may-read"


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def open_umask():
    """New files could be read by everybody."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_a_folder_made_beforehand_is_closed_with_all_that_is_in_it(tmp_path, open_umask):
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    (home / "apprentice.db-wal").write_bytes(b"")
    store = Store.open(Settings(home=home), migrate=True)
    store.database.write(lambda db: save_connection(db, "default", "http://ls", TOKEN))
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert modes(home) == {0o600}
    store.close()
    home.chmod(0o755)
    (home / "apprentice.db").chmod(0o644)
    Store.open(Settings(home=home), migrate=True).close()  # at each start
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert modes(home) == {0o600}


def test_a_folder_that_stays_open_is_refused(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    monkeypatch.setattr(Path, "chmod", lambda *_: None)  # as on a disk without permissions
    with pytest.raises(HomeError, match="APPRENTICE_HOME"):
        secure_folder(home)


def test_a_folder_of_another_user_is_refused_where_everybody_writes(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    home.chmod(0o2775)  # a volume of a container: our files in it are closed by their own mode
    secure_folder(home)
    home.chmod(0o777)
    with pytest.raises(HomeError, match="everybody may write"):
        secure_folder(home)


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(HomeError, match="file"):
        secure_folder(file / "home")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(HomeError, match="can't be written"):
        secure_folder(tmp_path)


def test_tokens_are_in_files_and_not_in_the_database(tmp_path):
    home = tmp_path / "home"
    store = Store.open(Settings(home=home), migrate=True)
    for name in ("default", "a/../b", "ü"):
        store.database.write(lambda db, name=name: save_connection(db, name, "http://ls", TOKEN))
    with store.database.read() as db:
        assert [item.token for item in list_connections(db)] == [TOKEN] * 3
        assert db.execute(select(connection.c.token)).scalars().all() == [""] * 3
    store.close()
    files = sorted(path for path in (home / "tokens").iterdir())
    assert len(files) == 3
    held = [path for path in home.rglob("*") if path.is_file() and TOKEN in _text(path)]
    assert sorted(held) == files
    assert stat.S_IMODE((home / "tokens").stat().st_mode) == 0o700


def test_a_token_goes_to_no_other_server(tmp_path):
    store = Store.open(Settings(home=tmp_path / "home"), migrate=True)
    store.database.write(lambda db: save_connection(db, "default", "http://ls", TOKEN))
    store.database.write(lambda db: db.execute(update(connection).values(url="http://evil")))
    with store.database.read() as db:
        assert get_connection(db, "default").token == ""
    store.database.write(lambda db: save_connection(db, "default", "http://other", "new"))
    with store.database.read() as db:
        assert get_connection(db, "default").token == "new"
    store.close()


def test_tokens_that_an_earlier_version_stored_are_moved(tmp_path):
    home = tmp_path / "home"
    store = Store.open(Settings(home=home), migrate=True)
    store.database.write(lambda db: save_connection(db, "default", "http://ls", "x"))
    store.database.write(lambda db: db.execute(update(connection).values(token=TOKEN)))
    store.close()
    (home / "tokens" / "default.json").unlink()
    store = Store.open(Settings(home=home), migrate=True)
    with store.database.read() as db:
        assert get_connection(db, "default").token == TOKEN
    held = [path.name for path in home.rglob("*") if path.is_file() and TOKEN in _text(path)]
    assert held == ["default.json"]
    store.close()


def _text(path: Path) -> str:
    return path.read_bytes().decode("latin-1")
