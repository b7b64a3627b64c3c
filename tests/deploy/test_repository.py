"""The files that the hosting platform and editors read: the workflow, issue forms, hooks."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.deploy import ROOT

SCHEMAS = {
    "vendor.github-workflows": sorted((ROOT / ".github" / "workflows").glob("*.yml")),
    "vendor.github-issue-forms": sorted(
        file
        for file in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")
        if "config" not in file.name
    ),
    "vendor.github-issue-config": [ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml"],
}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_they_follow_their_schema(schema: str) -> None:
    assert SCHEMAS[schema]
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    done = subprocess.run([*check, *map(str, SCHEMAS[schema])], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_tests_each_python_that_is_supported() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
    job = workflow["jobs"]["test"]
    tested = {
        tuple(map(int, version.split("."))) for version in job["strategy"]["matrix"]["python"]
    }
    bounds = re.search(r"(\(3, \d+\)) <= sys.version_info\[:2\] <= (\(3, \d+\))", makefile())
    assert bounds
    first, last = (int(bound.strip("()").split(", ")[1]) for bound in bounds.groups())
    assert tested == {(3, minor) for minor in range(first, last + 1)}
    assert ".ci/run" in [step.get("run") for step in job["steps"]]


def test_hooks_run_the_locked_tools_as_make_does() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in hooks] == ["local"]
    for hook in hooks[0]["hooks"]:
        tool = Path(hook["entry"].split()[0])
        assert tool.parent.as_posix() == ".venv/bin"
        assert f"$(BIN)/{tool.name}" in makefile(), hook["id"]


def makefile() -> str:
    return (ROOT / "Makefile").read_text()
