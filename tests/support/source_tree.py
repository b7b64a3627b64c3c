"""Reads the project's own source: folders, modules, functions, and which module imports which."""

import ast
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
PACKAGES = ("backend", "worker", "services", "studio", "model", "store")
Imports = Mapping[str, set[str]]  # {module: modules that it imports}


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


@cache
def module_imports() -> Imports:
    """All imports between our modules, also those inside functions and for type checking."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def folded(imports: Imports, parents: Iterable[str]) -> Imports:
    """The imports between the direct children of `parents`, modules and folders alike."""
    children = set(parents)
    result: dict[str, set[str]] = {}
    for module, imported in imports.items():
        source = _child(module, children)
        if source is not None:
            targets = {_child(target, children) for target in imported} - {source, None}
            result.setdefault(source, set()).update(target for target in targets if target)
    return result


def _child(module: str, parents: set[str]) -> str | None:
    """The part of `module`'s name that is a direct child of one of the parents."""
    parts = module.split(".")
    for length in range(len(parts) - 1, 0, -1):
        if ".".join(parts[:length]) in parents:
            return ".".join(parts[: length + 1])
    return None
