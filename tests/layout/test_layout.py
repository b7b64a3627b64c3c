"""The layout: small folders, modules and functions, no import circle, and tests that mirror it."""

import ast
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from docs.folders import PACKAGES, PICTURE, draw, imports_inside, module_imports
from tests.support.source_tree import ROOT, name_of, parse, source_files

MODULES_MOST = 13  # in one folder, `__init__` not counted
LINES_MOST = 310  # of a module
FUNCTION_LINES_MOST = 65

# Folders of tests that belong to no folder of ours.
OTHER_TESTS = {"data", "deploy", "docs", "e2e", "extras", "layout", "support"}


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(parse(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_a_folder_has_few_modules() -> None:
    counts = Counter(
        file.parent for file in source_files() if file.name not in {"__init__.py", "__main__.py"}
    )
    large = {name_of(folder): count for folder, count in counts.items() if count > MODULES_MOST}
    assert large == {}


def test_a_module_is_short() -> None:
    lengths = {name_of(file): len(file.read_text().splitlines()) for file in source_files()}
    assert {name: lines for name, lines in lengths.items() if lines > LINES_MOST} == {}


def test_packages_hold_no_code() -> None:
    coded = [
        name_of(file)
        for file in source_files()
        if file.name == "__init__.py"
        for node in parse(file).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]
    assert coded == []


def test_a_function_fits_a_screen() -> None:
    long = {
        f"{name_of(file)}:{function.name}": lines
        for file in source_files()
        for function in functions(file)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES_MOST
    }
    assert long == {}


def test_each_folder_says_what_lives_there() -> None:
    silent = [
        name_of(folder)
        for folder in {file.parent for file in source_files()}
        if not ast.get_docstring(parse(folder / "__init__.py"))
    ]
    assert silent == []


def test_modules_import_one_another_in_one_direction() -> None:
    try:
        TopologicalSorter(module_imports()).prepare()
    except CycleError as error:
        pytest.fail(f"an import circle: {' imports '.join(reversed(error.args[1]))}")


@pytest.mark.parametrize("package", PACKAGES)
def test_folders_import_one_another_in_one_direction(package: str) -> None:
    try:
        TopologicalSorter(imports_inside(package)).prepare()
    except CycleError as error:
        pytest.fail(f"an import circle: {' imports '.join(reversed(error.args[1]))}")


def test_tests_are_where_what_they_test_is() -> None:
    folders = {file.parent for file in (ROOT / "tests").rglob("test_*.py")}
    mirrored = {folder.relative_to(ROOT / "tests") for folder in folders}
    astray = [
        folder.as_posix()
        for folder in mirrored
        if folder.parts[:1] and folder.parts[0] not in OTHER_TESTS
        if not (ROOT / folder / "__init__.py").exists()
    ]
    assert astray == []


def test_the_picture_of_the_folders_is_current() -> None:
    assert PICTURE.read_text() == draw(), "draw it again: make picture"
