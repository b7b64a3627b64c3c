"""How much of the processors a process takes while others want them."""

import os
import time
from pathlib import Path

TRIES = 20
AUTOGROUP = Path("/proc/self/autogroup")


def be_nice(level: int) -> None:
    """Go back behind others by `level`, 0 to 19, as `nice` does.

    Linux by default shares the processors among sessions first, and a process alone in its session,
    as ours are, is then compared with nobody: so its session is put back as well (sched(7), "The
    autogroup feature").
    """
    os.nice(level)
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
