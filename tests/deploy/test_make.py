"""The Makefile's promises, with a Python that installs nothing in place of the real one."""

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.deploy import ROOT

# Suits the version check; "creates" an environment that notes what is asked of it.
PYTHON = """#!/bin/sh
case "$1" in
  -c) exit 0 ;;
  --version) echo "Python 3.12.0" ;;
  -m) rm -rf "$4"; mkdir -p "$4/bin"
      cp "$0.environment" "$4/bin/python"; cp "$0.apprentice" "$4/bin/apprentice" ;;
esac
"""
ENVIRONMENT = """#!/bin/sh
echo "$@" >> "$INSTALLED"
exit "${PIP_EXIT:-0}"
"""
APPRENTICE = """#!/bin/sh
echo "running $1 by hand: $BY_HAND"
[ "$1" = demo ] || exec sleep 600
"""


class Checkout:
    """A copy of what make needs, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.installed = folder / "installed"
        self.installed.touch()
        shutil.copy(ROOT / "Makefile", folder)
        shutil.copy(ROOT / "pyproject.toml", folder)
        shutil.copytree(ROOT / "requirements", folder / "requirements")
        self.python = folder / "python"
        for name, text in {
            "": PYTHON,
            ".environment": ENVIRONMENT,
            ".apprentice": APPRENTICE,
        }.items():
            script = Path(f"{self.python}{name}")
            script.write_text(text)
            script.chmod(0o755)

    def environment(self, **more: str) -> dict[str, str]:
        inherited = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        return inherited | {"INSTALLED": str(self.installed), "PYTHON": str(self.python)} | more

    def make(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", *words],
            cwd=self.folder,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def installs(self) -> list[str]:
        """What was installed since it was asked last, in pip's words after the options."""
        calls = [
            line.partition("--no-input ")[2] for line in self.installed.read_text().splitlines()
        ]
        self.installed.write_text("")
        return calls


LOCK = "-r requirements/lock.txt"
LABEL_STUDIO = "-r requirements/label-studio.txt"
PROJECT = "--no-deps --no-build-isolation -e ."


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    folder = tmp_path / "a clone"
    folder.mkdir()
    return Checkout(folder)


def test_make_alone_lists_the_targets(checkout: Checkout) -> None:
    done = checkout.make()
    assert done.returncode == 0
    for target in ("up", "demo", "test", "lock", "clean"):
        assert f"make {target} " in done.stdout
    assert checkout.installs() == []


def test_what_is_installed_is_not_installed_again(checkout: Checkout) -> None:
    assert checkout.make("install").returncode == 0
    assert checkout.installs() == [LOCK, PROJECT]
    assert checkout.make("install").returncode == 0
    assert checkout.installs() == []


def test_the_demo_installs_label_studio_beside_it_and_passes_by_hand_on(checkout: Checkout) -> None:
    done = checkout.make("demo", BY_HAND="1")
    assert done.returncode == 0, done.stderr
    assert sorted(checkout.installs()) == sorted([LOCK, PROJECT, LABEL_STUDIO])
    assert "running demo by hand: 1" in done.stdout
    assert "by hand: 1" in checkout.make("demo", "BY_HAND=1").stdout


def test_a_changed_lock_or_project_is_installed(checkout: Checkout) -> None:
    checkout.make("install")
    checkout.installs()
    lock = checkout.folder / "requirements" / "lock.txt"
    lock.write_text(lock.read_text() + "# changed\n")
    checkout.make("install")
    assert checkout.installs() == [LOCK, PROJECT]
    project = checkout.folder / "pyproject.toml"
    project.write_text(project.read_text() + "# changed\n")
    checkout.make("install")
    assert checkout.installs() == [PROJECT]


def test_a_moved_folder_is_installed_again(checkout: Checkout, tmp_path: Path) -> None:
    checkout.make("install")
    checkout.installs()
    moved = tmp_path / "moved"
    shutil.move(checkout.folder, moved)
    checkout = Checkout.__new__(Checkout)
    checkout.folder, checkout.installed, checkout.python = (
        moved,
        moved / "installed",
        moved / "python",
    )
    checkout.make("install")
    assert checkout.installs() == [LOCK, PROJECT]


def test_an_install_that_failed_is_repeated(checkout: Checkout) -> None:
    assert checkout.make("install", PIP_EXIT="1").returncode != 0
    assert checkout.installs() == [LOCK]
    assert checkout.make("install").returncode == 0
    assert checkout.installs() == [LOCK, PROJECT]


def test_an_unsuitable_python_is_refused_in_plain_words(checkout: Checkout) -> None:
    old = checkout.folder / "old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = checkout.make("up", PYTHON=str(old))
    assert done.returncode != 0
    assert "Python 3.11, 3.12 or 3.13" in done.stderr
    assert not (checkout.folder / ".venv").exists()


@pytest.mark.parametrize("word", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_reaches_the_program_and_leaves_nothing_behind(
    checkout: Checkout, word: signal.Signals
) -> None:
    checkout.make("install")
    # A shell's background jobs ignore Ctrl-C, and so would what they start, unless told otherwise.
    with subprocess.Popen(
        ["make", "up"],
        cwd=checkout.folder,
        env=checkout.environment(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as making:
        assert making.stdout is not None
        try:
            assert making.stdout.readline().startswith("running up")
            if word is signal.SIGINT:
                os.killpg(making.pid, word)  # as a terminal does
            else:
                making.send_signal(word)
            making.communicate(timeout=30)  # until the program's output has ended too
            assert making.returncode != 0
            with pytest.raises(ProcessLookupError):
                os.killpg(making.pid, 0)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(making.pid, signal.SIGKILL)
