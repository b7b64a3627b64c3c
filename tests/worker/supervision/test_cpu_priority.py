import os
import subprocess
import sys
from pathlib import Path

import pytest

AUTOGROUP = Path("/proc/self/autogroup")
CODE = (
    "import os; from worker.supervision.cpu_priority import lower_cpu_priority; "
    "lower_cpu_priority(7); print(os.nice(0)); "
)
GROUP = f"print(open('{AUTOGROUP}').read())"  # "/autogroup-123 nice 0", or nothing


def in_its_own_session(code: str) -> list[str]:
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, start_new_session=True, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_a_process_alone_in_its_session_takes_its_session_back_too() -> None:
    if not AUTOGROUP.exists() or not in_its_own_session(GROUP):
        pytest.skip("Linux with autogroups")
    expected = str(min(os.nice(0) + 7, 19))
    of_ours = AUTOGROUP.read_text().split()

    alone = in_its_own_session(CODE + GROUP)
    among_others = subprocess.run(
        [sys.executable, "-c", CODE + GROUP], capture_output=True, text=True, check=True
    ).stdout.split()

    assert (alone[0], alone[-1]) == (expected, "7")
    assert among_others == [expected, *of_ours]
