"""Paths, folders and locks of unix sockets."""

import os
from pathlib import Path

import pytest

from worker.supervision.unix_socket import (
    EXIT_IN_USE,
    LONGEST_SOCKET_PATH,
    FolderError,
    lock_socket,
    private_folder,
    short_path,
)


def test_a_long_path_is_replaced_by_a_short_one_of_the_home(tmp_path: Path) -> None:
    assert short_path(tmp_path / "a.sock", tmp_path) == tmp_path / "a.sock"
    deep = tmp_path / ("x" * LONGEST_SOCKET_PATH)
    short = short_path(deep / "a.sock", deep)
    assert len(os.fsencode(short)) <= LONGEST_SOCKET_PATH
    assert short == short_path(deep / "run" / "a.sock", deep)
    assert short != short_path(deep / "y" / "a.sock", deep / "y")
    assert short.name == "a.sock"


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    with pytest.raises(FolderError, match="link"):
        private_folder(link)


def test_a_locked_socket_ends_the_second_process_and_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    socket = tmp_path / "run" / "a.sock"
    socket.parent.mkdir()
    socket.touch()  # of a killed process
    with lock_socket(socket, "broker"):
        assert not socket.exists()
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        socket.touch()
        with pytest.raises(SystemExit) as ended, lock_socket(socket, "broker"):
            pass
        assert ended.value.code == EXIT_IN_USE
        assert "another broker runs already" in capsys.readouterr().err
        assert socket.exists()
    with lock_socket(socket, "broker"):
        assert not socket.exists()
