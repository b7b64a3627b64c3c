"""How much of the processors a process takes while others want them."""

import os
from contextlib import suppress
from pathlib import Path

AUTOGROUP = Path("/proc/self/autogroup")


def be_nice(level: int) -> None:
    """Go back behind others by `level`, 0 to 19, as `nice` does.

    Linux by default shares the processors among sessions first, and a process alone in its session,
    as ours are, is then compared with nobody: so its session is put back as well (sched(7), "The
    autogroup feature").
    """
    os.nice(level)
    if os.getsid(0) == os.getpid():
        with suppress(OSError):  # no Linux, or a kernel without it
            AUTOGROUP.write_text(str(level))
