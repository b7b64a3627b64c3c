import os
import signal
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import redis

from tests.support.workshop import Workshop, eventually
from worker.queues import valkey_server
from worker.queues.broker import (
    Broker,
    BrokerError,
    BrokerInUseError,
    broker_is_ready,
    broker_url,
    redis_from_url,
    running_broker,
)
from worker.queues.enqueue import enqueue
from worker.queues.job_state import JobState, job_state
from worker.supervision.process_identity import start_time
from worker.supervision.unix_socket import LONGEST_SOCKET_PATH

KILL_AFTER = 150  # jobs


def test_no_acknowledged_job_is_lost_when_the_broker_is_killed(
    workshop: Workshop, broker: Broker
) -> None:
    acknowledged: list[str] = []

    def kill_in_the_middle() -> None:
        eventually(lambda: len(acknowledged) >= KILL_AFTER)
        os.kill(broker.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_in_the_middle)
    killer.start()
    impatient = redis_from_url(broker.url, retries=0)
    with suppress(redis.ConnectionError):
        while True:
            acknowledged.append(enqueue(impatient, "note", len(acknowledged), 1))
    killer.join()
    impatient.close()
    broker.kill()
    broker.start()

    assert len(acknowledged) >= KILL_AFTER
    states = {job_state(workshop.connection, job) for job in acknowledged}
    assert states == {JobState.QUEUED}


def test_only_its_user_reaches_it_and_only_by_its_socket(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    broker.start()
    try:
        socket = valkey_server.socket_path(tmp_path)
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(socket.stat().st_mode) == 0o700
        assert psutil.Process(broker.pid).net_connections(kind="inet") == []
    finally:
        broker.stop()


def test_a_second_broker_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with running_broker(tmp_path) as url:
        with pytest.raises(BrokerInUseError, match="APPRENTICE_HOME"):
            valkey_server.lock_folder(valkey_server.data_folder(tmp_path), wait_seconds=0)
        assert broker_is_ready(url)


def test_the_lock_is_gone_with_the_broker(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    broker.start()
    os.kill(broker.pid, signal.SIGKILL)
    os.close(valkey_server.lock_folder(valkey_server.data_folder(tmp_path), wait_seconds=5))
    broker.stop()


@pytest.mark.parametrize(
    "tail",
    [b"*3\r\n$3\r\nSET\r\n$3\r\nfo", b"\0\0\0\0\0\0\0\0", b"nonsense\r\n"],
    ids=["cut off", "zeros", "nonsense"],
)
def test_a_damaged_end_of_the_log_costs_nothing_before_it(tmp_path: Path, tail: bytes) -> None:
    with running_broker(tmp_path) as url, redis_from_url(url) as client:
        client.set("kept", "yes")
    (log,) = (valkey_server.data_folder(tmp_path) / valkey_server.AOF_FOLDER).glob("*.incr.aof")
    with log.open("ab") as file:
        file.write(tail)
    with running_broker(tmp_path) as url, redis_from_url(url) as client:
        assert client.get("kept") == b"yes"


def test_an_unreadable_log_is_moved_aside(tmp_path: Path) -> None:
    with running_broker(tmp_path):
        pass
    folder = valkey_server.data_folder(tmp_path)
    (folder / valkey_server.AOF_FOLDER / valkey_server.AOF_MANIFEST).write_text("nonsense")
    with running_broker(tmp_path) as url, redis_from_url(url) as client:
        assert client.dbsize() == 0
    assert len(list(folder.glob("*.damaged-*"))) == 1


def test_a_home_with_a_long_path_works(tmp_path: Path) -> None:
    home = tmp_path / ("a-long-name" * 10)
    with running_broker(home) as url:
        assert url == broker_url(home)
        assert len(url) < LONGEST_SOCKET_PATH
        assert broker_is_ready(url)
    valkey_server.socket_path(home).parent.rmdir()


def test_a_broker_that_can_not_start_says_so(tmp_path: Path) -> None:
    (tmp_path / "broker").write_text("in the way")
    with pytest.raises(BrokerError, match="code 1"):
        Broker(tmp_path).start()


def test_the_broker_dies_with_its_parent(tmp_path: Path) -> None:
    script = (
        "import sys, threading; from pathlib import Path; from worker.queues.broker import Broker\n"
        "broker = Broker(Path(sys.argv[1])); broker.start(); print(broker.pid, flush=True)\n"
        "threading.Event().wait()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    eventually(lambda: start_time(pid) is None, "the broker is gone")
