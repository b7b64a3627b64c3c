import subprocess
import sys
import threading

import pytest

from tests.support.workshop import eventually
from worker.supervision.parent_death import (
    HAS_PDEATHSIG,
    ParentDeathError,
    ParentDeathGuard,
    require_main_thread,
)
from worker.supervision.process_identity import start_time

PARENT = """
import subprocess, sys, threading
from worker.supervision.process_identity import start_time
from worker.supervision.parent_death import ParentDeathGuard
guard = ParentDeathGuard(by_kernel=sys.argv[1] == "kernel")
nap = [sys.executable, "-c", "import os, threading; print(os.getpid(), flush=True); {wait}"]
subprocess.Popen(guard.command(nap), pass_fds=guard.pass_fds, start_new_session=True)
{wait}
""".replace("{wait}", "threading.Event().wait()")

FORKING_PARENT = """
import os, sys, threading
from worker.supervision.process_identity import start_time
from worker.supervision.parent_death import ParentDeathGuard
guard = ParentDeathGuard(by_kernel=sys.argv[1] == "kernel")
if os.fork() == 0:
    os.setpgrp()
    guard.bind()
    print(os.getpid(), flush=True)
threading.Event().wait()
"""

MEANS = pytest.mark.parametrize(
    "means",
    [
        pytest.param("kernel", marks=pytest.mark.skipif(not HAS_PDEATHSIG, reason="Linux only")),
        "pipe",
    ],
)


@MEANS
@pytest.mark.parametrize("script", [PARENT, FORKING_PARENT], ids=["command", "fork"])
def test_the_child_dies_with_a_parent_that_is_killed(script: str, means: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", script, means], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert start_time(child) is not None
        parent.kill()
    eventually(lambda: start_time(child) is None, "the child is gone")


@MEANS
def test_a_bound_command_ends_as_it_would_unbound(means: str) -> None:
    guard = ParentDeathGuard(by_kernel=means == "kernel")
    code = "import sys; print(sys.argv[1:]); sys.exit(7)"
    ended = subprocess.run(
        guard.command([sys.executable, "-c", code, "a b", "--c"]),
        pass_fds=guard.pass_fds,
        start_new_session=True,
        stdout=subprocess.PIPE,
        check=False,
    )
    guard.close()
    assert (ended.returncode, ended.stdout) == (7, b"['a b', '--c']\n")


@MEANS
def test_a_bound_command_gets_the_signals(means: str) -> None:
    guard = ParentDeathGuard(by_kernel=means == "kernel")
    code = (
        "import signal, sys, threading\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
        "print('ready', flush=True); threading.Event().wait()"
    )
    with subprocess.Popen(
        guard.command([sys.executable, "-c", code]),
        pass_fds=guard.pass_fds,
        start_new_session=True,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
    guard.close()
    assert process.returncode == 5


@pytest.mark.skipif(not HAS_PDEATHSIG, reason="elsewhere it doesn't matter")
def test_threads_may_not_start_what_would_die_with_them() -> None:
    errors: list[Exception] = []

    def ask() -> None:
        try:
            require_main_thread()
        except ParentDeathError as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert len(errors) == 1
