"""Renames of classes and control tags, as annotations are read."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from studio.renames import ClassRename, ControlRename, Renames


def region(name: str, kind: str, chosen: Any) -> dict[str, Any]:
    return {"from_name": name, "to_name": "i", "type": kind, "value": {kind: chosen}, "id": "x"}


def renamed(renames: Renames, name: str, chosen: Any, kind: str = "choices") -> Any:
    (each,) = renames.apply([region(name, kind, chosen)])
    return each.from_name, each.value.get(kind)


BOX = ClassRename("kind", ("box",), ("b",))


def test_classes_are_renamed_in_their_control_only() -> None:
    renames = Renames().added(BOX)
    assert renamed(renames, "kind", ["box", "x"]) == ("kind", ["b", "x"])
    assert renamed(renames, "other", ["box"]) == ("other", ["box"])
    assert renamed(renames, "kind", ["box", "b"]) == ("kind", ["b"])


def test_paths_are_renamed_as_a_whole() -> None:
    renames = Renames().added(ClassRename("tree", ("a", "cat"), ("pet", "cat")))
    chosen = [["a", "cat"], ["a"], ["b", "cat"]]
    assert renamed(renames, "tree", chosen, "taxonomy") == (
        "tree",
        [["pet", "cat"], ["a"], ["b", "cat"]],
    )


def test_a_class_that_moved_into_a_tree_becomes_a_path() -> None:
    renames = Renames().added(ClassRename("tree", ("cat",), ("pet", "cat")))
    assert renamed(renames, "tree", ["cat"]) == ("tree", [["pet", "cat"]])


def test_a_control_is_renamed_with_its_classes() -> None:
    renames = Renames().added(BOX).added(ControlRename("kind", "type"))
    assert renamed(renames, "kind", ["box"]) == ("type", ["b"])
    assert renamed(renames, "type", ["box"]) == ("type", ["b"])


def test_what_is_renamed_twice_has_its_newest_name() -> None:
    renames = Renames().added(BOX).added(ClassRename("kind", ("b",), ("c",)))
    assert renamed(renames, "kind", ["box"]) == ("kind", ["c"])
    assert renamed(renames, "kind", ["b"]) == ("kind", ["c"])
    controls = Renames().added(ControlRename("x", "y")).added(ControlRename("y", "z"))
    assert renamed(controls, "x", ["box"])[0] == "z"


def test_a_rename_is_undone_by_its_old_name() -> None:
    renames = Renames().added(BOX).added(ControlRename("x", "y"))
    assert renames.without(BOX).without(ControlRename("x", "")) == Renames()
    assert Renames().to_json() is None


NAMES = st.text("ab", min_size=1, max_size=2)
PATHS = st.lists(NAMES, min_size=1, max_size=2).map(tuple)
RENAMES = st.builds(ClassRename, NAMES, PATHS, PATHS) | st.builds(ControlRename, NAMES, NAMES)
JSON = st.recursive(
    st.none() | st.integers() | NAMES, lambda inner: st.lists(inner, max_size=3), max_leaves=6
)


@given(st.lists(RENAMES, max_size=5), NAMES, JSON)
def test_any_renames_are_stored_and_applied_to_any_value(
    each: list[ClassRename | ControlRename], name: str, chosen: Any
) -> None:
    renames = Renames()
    for one in each:
        renames = renames.added(one)
    assert Renames.from_json(renames.to_json()) == renames
    json = region(name, "choices", chosen)
    (read,) = renames.apply([json])
    assert {**read.to_json(), "from_name": name, "value": json["value"]} == json
    if not any(isinstance(one, ControlRename) for one in each):
        assert read.from_name == name
