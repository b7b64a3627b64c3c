"""The lock files: complete, as pyproject.toml asks, and free of anything of one machine."""

import re
import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.deploy import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCKS = {
    "lock": [extra for extra in EXTRAS if extra not in {"keras", "tensorflow"}],
    "keras": ["keras"],
    "tensorflow": ["tensorflow"],
    "web": ["postgres", "s3"],
    "worker": ["worker", "postgres", "s3"],
}
HEAVY = ("torch", "torchvision", "timm", "openvino", "scikit-learn", "scipy", "nvidia", "triton")


def lines(lock: str) -> Iterator[str]:
    for line in (ROOT / "requirements" / f"{lock}.txt").read_text().splitlines():
        if text := line.partition("#")[0].strip():
            yield text


def pins(lock: str) -> dict[str, set[str]]:
    """The versions pinned by name; more than one where it depends on the Python version."""
    found: dict[str, set[str]] = {}
    for line in lines(lock):
        requirement = Requirement(line)
        [pin] = requirement.specifier
        assert pin.operator == "==", line
        found.setdefault(canonicalize_name(requirement.name), set()).add(pin.version)
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_pins_are_what_the_project_asks_for(lock: str) -> None:
    pinned = pins(lock)
    asked = PROJECT["dependencies"] + [item for extra in LOCKS[lock] for item in EXTRAS[extra]]
    for requirement in map(Requirement, asked):
        versions = pinned[canonicalize_name(requirement.name)]
        assert all(version in requirement.specifier for version in versions), requirement


@pytest.mark.parametrize("image", ["web", "worker"])
def test_an_image_has_the_versions_that_are_tested(image: str) -> None:
    tested = pins("lock")
    for name, versions in pins(image).items():
        assert versions == tested[name], name


def test_the_web_image_computes_nothing_heavy() -> None:
    assert not [name for name in pins("web") if name.startswith(HEAVY)]


def test_the_lock_holds_what_builds_the_project() -> None:
    [backend] = map(
        Requirement,
        tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"],
    )
    [version] = pins("lock")[backend.name]
    assert version in backend.specifier


def test_the_label_studio_is_the_one_that_we_know() -> None:
    assert pins("label-studio")["label-studio"] == {"1.23.2"}


@pytest.mark.parametrize("lock", [*LOCKS, "label-studio"])
def test_a_lock_names_no_host_and_no_folder_of_a_machine(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    assert not re.search(r"://|^-|file:|/(work|tmp|home|root|Users)/|@ ", text, re.MULTILINE)
