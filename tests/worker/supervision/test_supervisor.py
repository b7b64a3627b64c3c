import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support import trial_jobs
from tests.support.workshop import Workshop, eventually
from worker.queues.broker import broker_url, redis_from_url
from worker.queues.enqueue import enqueue
from worker.supervision.child_process import ProcessSpec, shorten_log
from worker.supervision.process_identity import start_time
from worker.supervision.supervisor import StartFailedError, Supervisor

WAIT = "threading.Event().wait()"

LAUNCHER = """
import sys
from pathlib import Path
import structlog
from worker.queues.broker import broker_spec, broker_url
from worker.supervision.supervisor import ProcessSpec, Supervisor
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
home, script = Path(sys.argv[1]), sys.argv[2]
worker = (sys.executable, script, broker_url(home), str(home))
specs = [broker_spec(home), ProcessSpec("worker", worker, after=("broker",))]
Supervisor(specs, home / "logs").run(on_ready=lambda: print("ready", flush=True))
"""


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"import os, signal, subprocess, sys, threading\n{code}")


def stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def gone(pids: set[int]) -> bool:
    return all(start_time(pid) is None for pid in pids)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_behind(tmp_path: Path, number: signal.Signals) -> None:
    """The broker, a worker and a job in the middle of its work."""
    argv = [sys.executable, "-c", LAUNCHER, str(tmp_path), trial_jobs.__file__]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as launcher:
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == b"ready\n"
        shop = Workshop(tmp_path, broker_url(tmp_path), redis_from_url(broker_url(tmp_path)))
        enqueue(shop.connection, "wait", 1, 1)
        job = shop.process_of("wait-1-g1")
        shop.connection.close()
        everyone = {p.pid for p in psutil.Process(launcher.pid).children(recursive=True)}
        assert job in everyone
        assert len(everyone) == 3
        launcher.send_signal(number)
        if number != signal.SIGKILL:
            (tmp_path / "go").touch()
    assert launcher.returncode == (-number if number == signal.SIGKILL else 0)
    eventually(lambda: gone(everyone), "all are gone")
    assert ("went" in shop.notes()) == (number != signal.SIGKILL)


def test_grandchildren_and_the_deaf_are_killed_after_the_grace(tmp_path: Path) -> None:
    code = (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"child = subprocess.Popen([sys.executable, '-c', 'import threading; {WAIT}'])\n"
        f"open('pids', 'w').write(f'{{os.getpid()}} {{child.pid}}'); {WAIT}"
    )
    pids = tmp_path / "pids"
    spec = ProcessSpec(
        "deaf",
        python(code),
        cwd=tmp_path,
        ready=lambda: pids.exists() and len(pids.read_text().split()) == 2,
        grace_seconds=0.2,
    )
    Supervisor([spec], tmp_path).run(on_ready=stop)
    assert gone({int(pid) for pid in pids.read_text().split()})


def test_grandchildren_of_a_process_that_ends_in_good_order_are_killed(tmp_path: Path) -> None:
    code = (
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        f"child = subprocess.Popen([sys.executable, '-c', 'import threading; {WAIT}'])\n"
        f"print(child.pid, flush=True); {WAIT}"
    )
    log = tmp_path / "parent.log"
    spec = ProcessSpec("parent", python(code), ready=lambda: log.read_text().endswith("\n"))
    Supervisor([spec], tmp_path).run(on_ready=stop)
    assert gone({int(log.read_text())})


def test_a_second_signal_cuts_the_grace_short(tmp_path: Path) -> None:
    code = f"signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); {WAIT}"
    log = tmp_path / "deaf.log"
    spec = ProcessSpec(
        "deaf", python(code), ready=lambda: log.read_text() == "deaf\n", grace_seconds=600
    )

    def stop_twice() -> None:
        stop()
        stop()

    began = time.monotonic()
    Supervisor([spec], tmp_path).run(on_ready=stop_twice)
    assert time.monotonic() - began < 60


def test_a_process_that_died_is_started_again(tmp_path: Path) -> None:
    code = f"print(os.getpid(), flush=True); {WAIT}"
    log = tmp_path / "short.log"

    def pids() -> list[str]:
        return log.read_text().split() if log.exists() else []

    def is_back() -> bool:
        """Kill the first; the watcher is ready when there is a second."""
        if len(pids()) == 1 and start_time(int(pids()[0])) is not None:
            os.kill(int(pids()[0]), signal.SIGKILL)
        return len(pids()) == 2

    specs = [
        ProcessSpec("short", python(code)),
        ProcessSpec("watcher", python(WAIT), ready=is_back, after=("short",)),
    ]
    Supervisor(specs, tmp_path).run(on_ready=stop)
    assert len(pids()) == 2
    assert gone({int(pid) for pid in pids()})


def test_order_of_start_and_stop(tmp_path: Path) -> None:
    def speaker(name: str) -> tuple[str, ...]:
        say = f"open({str(tmp_path / 'said')!r}, 'a').write"
        return python(
            f"signal.signal(signal.SIGTERM, lambda *_: ({say}('{name} ends\\n'), sys.exit(0)))\n"
            f"{say}('{name} begins\\n'); {WAIT}"
        )

    def said() -> list[str]:
        return (tmp_path / "said").read_text().splitlines() if (tmp_path / "said").exists() else []

    specs = [
        ProcessSpec("first", speaker("first"), ready=lambda: "first begins" in said()),
        ProcessSpec(
            "second", speaker("second"), ready=lambda: "second begins" in said(), after=("first",)
        ),
    ]
    Supervisor(specs).run(on_ready=stop)
    assert said() == ["first begins", "second begins", "second ends", "first ends"]


def test_a_process_that_does_not_come_up_ends_it_all(tmp_path: Path) -> None:
    code = f"open('pid', 'w').write(str(os.getpid())); {WAIT}"
    pid = tmp_path / "pid"
    specs = [
        ProcessSpec("good", python(code), cwd=tmp_path, ready=lambda: bool(_text(pid))),
        ProcessSpec(
            "bad",
            python("print('the port is taken'); sys.exit(4)"),
            ready=lambda: False,
            after=("good",),
        ),
    ]
    with pytest.raises(StartFailedError, match=r"bad ended with code 4(.|\n)*the port is taken"):
        Supervisor(specs, tmp_path / "logs").run()
    assert gone({int(pid.read_text())})


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_a_process_that_is_never_ready_ends_it_all(tmp_path: Path) -> None:
    spec = ProcessSpec("slow", python(WAIT), ready=lambda: False, ready_seconds=0.1)
    with pytest.raises(StartFailedError, match="slow wasn't ready"):
        Supervisor([spec], tmp_path).run()


def test_a_process_gets_its_environment_and_its_log(tmp_path: Path) -> None:
    code = f"print(os.environ['GREETING'], os.getcwd(), flush=True); {WAIT}"
    log = tmp_path / "logs" / "polite.log"
    spec = ProcessSpec(
        "polite",
        python(code),
        env={"GREETING": "hello"},
        cwd=tmp_path,
        ready=lambda: log.read_text().endswith("\n"),
    )
    Supervisor([spec], tmp_path / "logs").run(on_ready=stop)
    assert log.read_text() == f"hello {tmp_path}\n"


def test_the_supervisor_leaves_the_signals_as_it_found_them(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    Supervisor([ProcessSpec("idle", python(WAIT))], tmp_path).run(on_ready=stop)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_a_long_log_is_cut_while_it_is_written(tmp_path: Path) -> None:
    log = tmp_path / "long.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 100)
        shorten_log(log, longest=200)
        assert log.stat().st_size == 100
        shorten_log(log, longest=50)
        writer.write(b"new")
    assert log.read_bytes() == b"new"
    assert (tmp_path / "long.log.1").read_bytes() == b"x" * 100


def test_names_are_unique_and_order_is_given() -> None:
    one = ProcessSpec("one", python(WAIT))
    two = ProcessSpec("two", python(WAIT), after=("one",))
    with pytest.raises(ValueError, match="one"):
        Supervisor([one, one])
    with pytest.raises(ValueError, match="two"):
        Supervisor([two, one])
