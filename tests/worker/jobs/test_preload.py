"""Workers import once what the processes of their jobs need: no job imports anything again."""

import os
import subprocess
import sys

import pytest

from tests.support.workbench import Workbench

JOB = """
import sys
from worker.jobs.preload import preload
preload(sys.argv[1])
before = set(sys.modules)
import importlib
importlib.import_module(f"worker.jobs.{sys.argv[1]}").run(int(sys.argv[2]), int(sys.argv[3]))
print(*sorted(set(sys.modules) - before))
"""


@pytest.mark.parametrize("kind", ["learn", "publish"])
def test_a_job_imports_no_module(workbench: Workbench, kind: str) -> None:
    workbench.annotate(workbench.tasks_of("cat", 12) | workbench.tasks_of("dog", 12))
    generation = workbench.prepare(kind)
    done = subprocess.run(
        [sys.executable, "-c", JOB, kind, str(workbench.project_id), str(generation)],
        env=os.environ | {"APPRENTICE_HOME": str(workbench.store.settings.home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == ""
