"""The examples of docs/extending.md, put into a copy of our code, with the tests beside them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```python\n# (\S+)\n(.*?)```", re.DOTALL)
PACKAGES = ("model", "studio", "services", "store")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the page's reader has after copying each block into its file."""
    folder = tmp_path_factory.mktemp("copy")
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for path, code in blocks():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(code)
    shutil.copy(ROOT / "tests/docs/new_kind.py", folder / "tests/test_new_kind.py")
    return folder


def blocks() -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / "docs/extending.md").read_text())


def run(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_example_is_one_file_of_ours_and_its_test() -> None:
    text = (ROOT / "docs/extending.md").read_text()
    paths = [path for path, _ in blocks()]
    assert text.count("```python") == len(paths)
    ours = [path for path in paths if path.startswith(PACKAGES)]
    assert len(ours) == 6
    assert [path for path in paths if path.startswith("tests/")] == [
        f"tests/{Path(path).parts[0]}/test_{Path(path).name}" for path in ours
    ]
    assert not [path for path in ours if (ROOT / path).exists()]


@pytest.mark.slow
def test_the_examples_work(copy: Path) -> None:
    where = "import model, services, store, studio as s; print(model, services, store, s)"
    found = subprocess.run(
        [sys.executable, "-c", where], cwd=copy, capture_output=True, text=True, check=True
    )
    assert found.stdout.count(str(copy)) == len(PACKAGES), "the copy is what is imported"
    run(copy, "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=.", "-W", "error", "tests")


def test_the_examples_have_our_style(copy: Path) -> None:
    files = [path for path, _ in blocks()]
    settings = ("--config", str(ROOT / "pyproject.toml"))
    run(copy, "ruff", "check", *settings, "--extend-ignore", "D", *files)  # as in their folders
    run(copy, "ruff", "format", "--check", *settings, *files)
