import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = "import os; from worker.priority import be_nice; be_nice(7); print(os.nice(0)); "
GROUP = "print(open('/proc/self/autogroup').read().split()[-1])"


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="Linux with autogroups")
def test_a_process_alone_in_its_session_takes_its_session_back_too() -> None:
    code = [sys.executable, "-c", CODE + GROUP]
    before = os.nice(0)
    of_ours = Path("/proc/self/autogroup").read_text().split()[-1]

    alone = subprocess.run(code, start_new_session=True, capture_output=True, text=True, check=True)
    among_others = subprocess.run(code, capture_output=True, text=True, check=True)

    assert alone.stdout.split() == [str(before + 7), "7"]
    assert among_others.stdout.split() == [str(before + 7), of_ours]
