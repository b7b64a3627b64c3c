"""A project with its first labels."""

import pytest

from tests.support.learned_lists import label_lists
from tests.support.workbench import Workbench


@pytest.fixture
def begun(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    monkeypatch.setenv("APPRENTICE_AUDIT_SHARE", "0.5")
    monkeypatch.setenv("APPRENTICE_HEAD", "ridge")
    bench = workbench
    bench.run("learn")
    label_lists(bench, 1, 12)
    return bench
