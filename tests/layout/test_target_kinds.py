"""What kind a target is, is asked in `model/targets` and `studio/controls` alone.

Everywhere else the kind's own functions are called (`TARGETS.get(...)`), so that a new kind is one
file and not a branch in thirty.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support.source_tree import ROOT, name_of, parse, source_files

AT_HOME = (
    ROOT / "model" / "targets",
    ROOT / "studio" / "controls",
    ROOT
    / "model"
    / "exporting"
    / "scripts",  # written out as `infer.py`, which imports nothing of ours
)
WORDS = {"single", "multi", "number"}  # the kinds as they are stored
HEADS = {"NumberHead"}  # of one kind of target alone


def test_no_kind_of_target_is_asked_for_elsewhere() -> None:
    found = [
        f"{name_of(file)}:{line}"
        for file in source_files()
        if not any(file.is_relative_to(home) for home in AT_HOME)
        for line in sorted(set(switches(file)))
    ]
    assert found == []


def switches(file: Path) -> Iterator[int]:
    """The lines on which a module tells kinds of targets apart."""
    own = {node.name for node in parse(file).body if isinstance(node, ast.ClassDef)}
    classes = (HEADS | target_classes(parse(file))) - own
    for node in ast.walk(parse(file)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(map(is_form, sides)) or (
                any(map(is_kind, sides)) and any(mentions(side, WORDS, classes) for side in sides)
            ):
                yield node.lineno
        elif isinstance(node, ast.Call) and names(node.func) & {"isinstance", "issubclass"}:
            if names(node.args[1]) & classes:
                yield node.lineno
        elif isinstance(node, ast.Match):
            patterns = {name for case in node.cases for name in class_patterns(case.pattern)}
            if is_form(node.subject) or patterns & classes:
                yield node.lineno


def target_classes(tree: ast.Module) -> set[str]:
    """Names that the module imports from `model.targets`, kinds and schemas among them."""
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("model.targets")
        for alias in node.names
    }


def is_form(node: ast.expr) -> bool:
    """Whether it is a target's kind by its stored name: `x.form`, `entry["form"]` or `form`."""
    return "form" in {part.removesuffix("s") for part in own_name(node)}


def is_kind(node: ast.expr) -> bool:
    return "kind" in own_name(node)


def own_name(node: ast.expr) -> set[str]:
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return {name}
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            return {name}
        case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value=str(name)), *_]):
            return {name}
        case _:
            return set()


def mentions(node: ast.expr, words: set[str], classes: set[str]) -> bool:
    """Whether one of the words, or of the names from `model.targets`, is in an expression."""
    constants = {
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    }
    return bool(constants & words or names(node) & classes)


def names(node: ast.expr) -> set[str]:
    return {
        part.id if isinstance(part, ast.Name) else part.attr
        for part in ast.walk(node)
        if isinstance(part, ast.Name | ast.Attribute)
    }


def class_patterns(pattern: ast.pattern) -> Iterator[str]:
    for part in ast.walk(pattern):
        if isinstance(part, ast.MatchClass):
            yield from names(part.cls)


def test_the_check_sees_each_way_of_asking(tmp_path: Path) -> None:
    module = tmp_path / "asks.py"
    module.write_text(
        "from model.targets.schema import MultiLabel as Several, Number\n"
        "learned.form == 'multi'\n"
        "entry.get('form', 'single') != 'number'\n"
        "isinstance(schema, Several | int)\n"
        "isinstance(schema, (str, Number))\n"
        "schema.kind in {'single', 'multi'}\n"
        "match schema:\n    case Several(): pass\n"
        "version.kind == 'head'\n"
        "isinstance(schema, str)\n"
    )
    assert sorted(set(switches(module))) == [2, 3, 4, 5, 6, 7]
