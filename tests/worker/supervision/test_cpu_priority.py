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


IMPORT = "import os, resource; from worker.supervision.cpu_priority import raise_cpu_priority; "
FORBID = "resource.setrlimit(resource.RLIMIT_NICE, (0, 0)); os.getuid() or os.setuid(65534); "
RAISE = "print(raise_cpu_priority(3), os.nice(0)); "


def test_a_process_that_may_goes_before_others_and_its_session_with_it() -> None:
    raised, nice, *group = in_its_own_session(IMPORT + RAISE + GROUP)
    if raised == "False":
        pytest.skip("needs root or CAP_SYS_NICE")
    assert int(nice) == max(os.nice(0) - 3, -20)
    assert not group or group[-1] == "-3"


def test_a_process_that_may_not_stays_as_it_is() -> None:
    answer = in_its_own_session(IMPORT + FORBID + RAISE)
    assert answer == ["False", str(os.nice(0))]
