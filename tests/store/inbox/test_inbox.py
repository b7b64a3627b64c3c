"""The inbox: what was acknowledged is read again, in order, whatever happened in between."""

import errno
import os
import random
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from store.inbox import log as inbox_log
from store.inbox.frames import MAGIC, Damage, Frame, decode, encode
from store.inbox.inbox import Delivery, Inbox, InboxFullError, count_rejected, require_own_home
from store.inbox.log import LogInUseError


def bodies(inbox: Inbox) -> list[bytes]:
    return [delivery.body for delivery in inbox.read(10**9, 10**9)]


def add(inbox: Inbox, *contents: bytes) -> None:
    for future in [inbox.submit(Delivery("default", body, 1.0)) for body in contents]:
        future.result(30)


def files(home: Path) -> list[Path]:
    return sorted((home / "inbox").glob("*.log"))


def test_frames_are_read_as_they_were_written() -> None:
    payloads = [b"", b"a", MAGIC, os.urandom(3000), encode(7, b"a frame in a frame")]
    data = b"".join(encode(number, payload) for number, payload in enumerate(payloads, 1))
    found = list(decode(data))
    assert [(each.number, each.payload) for each in found] == list(enumerate(payloads, 1))
    assert found[-1].end == len(data)


def test_damage_costs_the_record_that_it_hits_and_no_other() -> None:
    rng = random.Random(0)
    payloads = [rng.randbytes(rng.randrange(200)) for _ in range(20)]
    frames = [encode(number, payload) for number, payload in enumerate(payloads)]
    data = b"".join(frames)
    ends = [sum(map(len, frames[: i + 1])) for i in range(20)]
    for position in range(len(data)):
        hurt = bytearray(data)
        hurt[position] ^= 1 << rng.randrange(8)
        hit = next(i for i, end in enumerate(ends) if position < end)
        found = list(decode(bytes(hurt)))
        read = [each.number for each in found if isinstance(each, Frame)]
        assert read == [i for i in range(20) if i != hit]
        (damage,) = [each for each in found if isinstance(each, Damage)]
        assert damage.start <= position < damage.end


@pytest.mark.parametrize("cut", [1, 5, 19, 20, 40])
def test_a_torn_end_is_left_out_and_appending_goes_on(tmp_path: Path, cut: int) -> None:
    inbox = Inbox(tmp_path)
    add(inbox, b"first", b"second", b"third" * 20)
    inbox.close()
    (file,) = files(tmp_path)
    file.write_bytes(file.read_bytes()[:-cut])
    again = Inbox(tmp_path)
    add(again, b"fourth")
    assert bodies(again) == [b"first", b"second", b"fourth"]
    again.close()


def test_what_is_not_applied_is_read_after_a_restart(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    add(inbox, *(b"%d" % i for i in range(10)))
    assert inbox.depth == 10
    inbox.close()
    again = Inbox(tmp_path)
    again.resume(4)
    assert [delivery.number for delivery in again.read(10**9, 10**9)] == list(range(5, 11))
    assert again.depth == 6
    again.close()


def test_numbers_go_on_after_what_the_database_knows(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    inbox.resume(100)
    assert inbox.depth == 0
    add(inbox, b"next")
    assert [delivery.number for delivery in inbox.read(10**9, 10**9)] == [101]
    inbox.close()


def test_files_that_are_done_with_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_log, "FILE_BYTES", 1000)
    inbox = Inbox(tmp_path)
    for i in range(20):
        add(inbox, b"%d" % i * 200)
    assert len(files(tmp_path)) > 4
    read = inbox.read(10**9, 10**9)
    assert len(read) == 20
    inbox.mark_applied(read[-1].number)
    assert len(files(tmp_path)) == 1
    inbox.close()


def test_a_file_that_a_disk_has_damaged_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_log, "FILE_BYTES", 200)
    inbox = Inbox(tmp_path)
    for body in (b"one" * 20, b"two" * 20, b"three" * 20, b"four" * 20):
        add(inbox, body)
    inbox.close()
    first = files(tmp_path)[0]
    content = bytearray(first.read_bytes())
    content[40] ^= 255
    first.write_bytes(bytes(content))
    again = Inbox(tmp_path)
    read = again.read(10**9, 10**9)
    assert [delivery.body[:3] for delivery in read] == [b"two", b"thr", b"fou"]
    again.mark_applied(read[-1].number)
    assert again.wait_until_applied(0)
    assert list((tmp_path / "inbox").glob("*.damaged"))
    again.close()


def test_other_users_can_read_nothing(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    add(inbox, b"a")
    inbox.put_aside(inbox.read(1, 1)[0], "why")
    inbox.close()
    for path in (tmp_path / "inbox").rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
    assert count_rejected(tmp_path) == 1


def test_a_home_has_one_inbox_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_log, "LOCK_SECONDS", 0.0)
    require_own_home(tmp_path)
    inbox = Inbox(tmp_path)
    for opening in (Inbox, require_own_home):
        with pytest.raises(LogInUseError, match="APPRENTICE_HOME"):
            opening(tmp_path)
    inbox.close()
    require_own_home(tmp_path)
    Inbox(tmp_path).close()


def test_those_who_wait_share_a_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, release = threading.Event(), threading.Event()
    syncs: list[int] = []

    write = inbox_log._write

    def slow(fd: int, data: bytes) -> None:
        write(fd, data)
        syncs.append(fd)
        begun.set()
        release.wait(30)

    monkeypatch.setattr(inbox_log, "_write", slow)
    inbox = Inbox(tmp_path)
    first = inbox.submit(Delivery("default", b"0", 1.0))
    begun.wait(30)
    others = [inbox.submit(Delivery("default", b"%d" % i, 1.0)) for i in range(1, 100)]
    assert not first.done()
    release.set()
    for future in [first, *others]:
        future.result(30)
    assert len(syncs) == 2
    assert bodies(inbox) == [b"%d" % i for i in range(100)]
    inbox.close()


class TestFullDisk:
    """What a disk without space does to the inbox."""

    def test_nobody_is_acknowledged_and_nothing_before_is_lost(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inbox = Inbox(tmp_path)
        add(inbox, b"before")
        with monkeypatch.context() as patched:

            def full(fd: int, _data: bytes) -> None:
                os.write(fd, b"half of it")
                raise OSError(errno.ENOSPC, "No space left on device")

            patched.setattr(inbox_log, "_write", full)
            refused = [inbox.submit(Delivery("default", b"lost", 1.0)) for _ in range(3)]
            for future in refused:
                assert isinstance(future.exception(30), OSError)
        add(inbox, b"after")
        assert bodies(inbox) == [b"before", b"after"]
        inbox.mark_applied(10)
        inbox.close()
        assert len(files(tmp_path)) == 1

    def test_a_real_one(self, tmp_path: Path) -> None:
        """A limit on the size of files, as the kernel enforces it."""
        script = """
            import resource, signal, sys
            from pathlib import Path
            from store.inbox.inbox import Delivery, Inbox
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
            inbox = Inbox(Path(sys.argv[1]))
            kept = []
            for i in range(40):
                body = b"%d" % i * 200
                future = inbox.submit(Delivery("default", body, 1.0))
                if future.exception() is None:
                    kept.append(body)
            assert [delivery.body for delivery in inbox.read(10**9, 10**9)] == kept
            print(len(kept))
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) >= 30


def test_what_waits_for_the_disk_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, write = threading.Event(), inbox_log._write

    def slow(fd: int, data: bytes) -> None:
        release.wait(30)
        write(fd, data)

    monkeypatch.setattr(inbox_log, "_write", slow)
    monkeypatch.setattr("store.inbox.inbox.WAITING_BYTES", 10_000)
    inbox = Inbox(tmp_path)
    body = b"x" * 1000
    accepted = [inbox.submit(Delivery("default", body, 1.0)) for _ in range(9)]
    with pytest.raises(InboxFullError):
        inbox.submit(Delivery("default", body, 1.0))
    release.set()
    for future in accepted:
        future.result(30)
    add(inbox, b"y")
    assert len(bodies(inbox)) == len(accepted) + 1
    inbox.close()


KILLED = """
    import os, signal, sys, threading
    from pathlib import Path
    from store.inbox.inbox import Delivery, Inbox
    inbox = Inbox(Path(sys.argv[1]))
    def send(sender):
        for i in range(10_000):
            inbox.submit(Delivery("default", b"%d %d" % (sender, i), 1.0)).result()
            os.write(1, b"%d %d\\n" % (sender, i))
    for sender in range(8):
        threading.Thread(target=send, args=(sender,), daemon=True).start()
    sys.stdin.read(1)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_9_loses_nothing_acknowledged(tmp_path: Path) -> None:
    acknowledged: list[bytes] = []
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdin is not None
        lines = [process.stdout.readline() for _ in range(50)]
        process.stdin.write(b"x")
        process.stdin.flush()
        acknowledged += [line.strip() for line in [*lines, *process.stdout] if line.endswith(b"\n")]
        process.wait()
        process.stdin.close()
        process.stdout.close()
    inbox = Inbox(tmp_path)
    found = bodies(inbox)
    inbox.close()
    for body in set(acknowledged):
        assert found.count(body) >= acknowledged.count(body)


def test_a_copy_of_the_folder_takes_another_id(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    before = inbox.id
    inbox.rename()
    assert inbox.id != before
    inbox.close()
    again = Inbox(tmp_path)
    assert again.id == inbox.id
    again.close()
