"""Reads the project's own source: its folders and modules."""

import ast
from functools import cache
from pathlib import Path

from docs.folders import PACKAGES

ROOT = Path(__file__).parents[2]


def source_files() -> list[Path]:
    """Our modules, `__init__` included; migrations are no modules of ours to shape."""
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    return sorted(file for file in files if "migrations" not in file.parts)


@cache
def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def name_of(file: Path) -> str:
    """A file's path from the project's root, for messages."""
    return file.relative_to(ROOT).as_posix()
