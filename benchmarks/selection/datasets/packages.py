"""Finds packages that ship pictures: npm's are fetched, at pinned versions and SHA-512 sums."""

import base64
import hashlib
import importlib.util
import json
import subprocess
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.support.report import OUT

PINNED = Path(__file__).with_name("packages.txt")
CACHE = OUT / "npm"


def folder(package: str) -> Path:
    """Where a Python package is. It isn't imported, so what it imports needn't be there."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ModuleNotFoundError("pip install what is in benchmarks/selection/requirements.txt")
    return Path(found.origin).parent


@cache
def pinned() -> dict[str, tuple[str, str]]:
    """Version and sum of each package, by name."""
    lines = [line.split() for line in PINNED.read_text().splitlines() if line[:1] == "@"]
    return {name: (version, integrity) for name, version, integrity in lines}


def tarball(package: str) -> Path:
    """The package's archive, fetched once by `npm pack`. ValueError: it has another sum."""
    version, integrity = pinned()[package]
    file = CACHE / f"{package.removeprefix('@').replace('/', '-')}-{version}.tgz"
    if not file.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", "--silent", f"{package}@{version}"]
        subprocess.run(command, cwd=CACHE, check=True, stdout=subprocess.DEVNULL)
    digest = base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != integrity:
        raise ValueError(f"{file} is not the pinned {package} {version}: delete it and try again")
    return file


def member(package: str, path: str) -> bytes:
    """One file of the package."""
    with tarfile.open(tarball(package)) as archive:
        file = archive.extractfile(f"package/{path}")
        assert file is not None
        return file.read()


@cache
def icons(pack: str) -> Any:
    """The icon set `icons.json` of an Iconify package."""
    return json.loads(member(f"@iconify-json/{pack}", "icons.json"))


@cache
def categories(pack: str) -> dict[str, list[str]]:
    """Names of an Iconify package's icons by the category that its makers gave them."""
    found: dict[str, list[str]] = json.loads(member(f"@iconify-json/{pack}", "metadata.json")).get(
        "categories", {}
    )
    return found
