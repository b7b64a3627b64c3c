"""Changes the CPU priority of a process."""

import os
import time
from pathlib import Path

TRIES = 20
AUTOGROUP = Path("/proc/self/autogroup")


def lower_cpu_priority(level: int) -> None:
    """Raise the nice value of this process by `level`, 0 to 19.

    Linux by default shares CPU time among sessions first, so that the nice value of a process alone
    in its session has no effect: the session's nice value is set as well (sched(7), "The autogroup
    feature").
    """
    os.nice(level)
    _follow_in_session(level)


def raise_cpu_priority(level: int) -> bool:
    """Lower the nice value of this process by `level`, 0 to 20, and return True.

    Only root, CAP_SYS_NICE or a limit (RLIMIT_NICE) allows that; else nothing changes, and the
    result is False. Threads and processes that are started afterwards inherit it.
    """
    try:
        os.nice(-level)
    except OSError:
        return False
    _follow_in_session(-level)
    return True


def _follow_in_session(level: int) -> None:
    if os.getsid(0) != os.getpid():
        return
    for _ in range(TRIES):
        try:
            AUTOGROUP.write_text(str(level))
        except BlockingIOError:  # of all who aren't root, the kernel lets one change it each 0.1 s
            time.sleep(0.1)
        except OSError:  # no Linux, or a kernel without it
            return
        else:
            return
