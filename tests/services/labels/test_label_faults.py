"""What of annotations can't be learned, and why."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.labels.aggregation import read_labels
from services.labels.label_faults import (
    FaultKind,
    LabelFault,
    faults_from_text,
    faults_of,
    faults_to_text,
)
from store.tasks.annotations import AnnotationRecord
from studio.config import parse_label_config
from studio.renames import ClassRename, ControlRename, Renames
from tests.support.workbench import region

XML = """<View><Image name="image" value="$image"/>
<Choices name="kind" toName="image"><Choice value="Cat" alias="cat"/><Choice value="dog"/></Choices>
<Taxonomy name="tree" toName="image"><Choice value="a"><Choice value="b"/></Choice></Taxonomy>
<Rating name="stars" toName="image" maxRating="3"/>
<RectangleLabels name="box" toName="image"><Label value="x"/></RectangleLabels></View>"""
CONFIG = parse_label_config(XML)


def faults(*regions: dict[str, Any], config: Any = CONFIG) -> set[LabelFault]:
    return faults_of(AnnotationRecord(1, 1, 1.0, 1.0, list(regions)), config)


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (region("kind", "choices", ["box"]), (FaultKind.UNKNOWN_CLASS, "kind", "box")),
        (region("kind", "choices", ["Cat"]), (FaultKind.UNKNOWN_CLASS, "kind", "Cat")),
        (region("tree", "taxonomy", [["a", "c"]]), (FaultKind.UNKNOWN_CLASS, "tree", "a / c")),
        (region("sort", "choices", ["cat"]), (FaultKind.UNKNOWN_CONTROL, "sort", "")),
        (region("box", "rectanglelabels", ["x"]), (FaultKind.NOT_LEARNED, "box", "")),
        (region("kind", "rating", 3), (FaultKind.OTHER_TYPE, "kind", "rating")),
        (region("kind", "choices", ["cat", "dog"]), (FaultKind.OTHER_VALUE, "kind", "")),
        (region("kind", "choices", None), (FaultKind.OTHER_VALUE, "kind", "")),
        (region("stars", "rating", 9), (FaultKind.OTHER_VALUE, "stars", "")),
    ],
)
def test_each_fault_is_named(said: dict[str, Any], fault: tuple[FaultKind, str, str]) -> None:
    assert faults(said) == {LabelFault(*fault)}


def test_what_can_be_learned_has_no_fault() -> None:
    good = [region("kind", "choices", ["cat"]), region("tree", "taxonomy", [["a", "b"]])]
    assert faults(*good, {"type": "relation", "from_id": "a", "to_id": "b"}) == set()
    assert faults() == {LabelFault(FaultKind.EMPTY)}


def test_renamed_names_have_no_fault() -> None:
    renames = (
        Renames()
        .added(ClassRename("kind", ("box",), ("cat",)))
        .added(ControlRename("sort", "kind"))
    )
    config = parse_label_config(XML, renames)
    assert faults(region("sort", "choices", ["box"]), config=config) == set()
    annotation = AnnotationRecord(1, 5, 1.0, 1.0, [region("sort", "choices", ["box"])])
    assert read_labels([annotation], config) == {5: {"kind": "cat"}}


PAGES = """<View><Repeater on="$pages"><Image name="p_{{idx}}" value="$pages[{{idx}}]"/>
<Choices name="k_{{idx}}" toName="p_{{idx}}"><Choice value="cat" alias="c"/></Choices>
<Brush name="b_{{idx}}" toName="p_{{idx}}"/></Repeater></View>"""


def test_classes_and_controls_of_pages_are_renamed() -> None:
    said = [region("k_1", "choices", ["cat"]), region("old_0", "choices", ["c"])]
    config = parse_label_config(PAGES)
    assert faults(*said, config=config) == {
        LabelFault(FaultKind.UNKNOWN_CLASS, "k_{{idx}}", "cat"),
        LabelFault(FaultKind.UNKNOWN_CONTROL, "old_0"),
    }
    renames = (
        Renames()
        .added(ClassRename("k_{{idx}}", ("cat",), ("c",)))
        .added(ControlRename("old_{{idx}}", "k_{{idx}}"))
    )
    config = parse_label_config(PAGES, renames)
    assert faults(*said, config=config) == set()
    labels = read_labels([AnnotationRecord(1, 5, 1.0, 1.0, said)], config, {5: 2})
    assert list(labels.values()) == [{"k_{{idx}}": "c"}] * 2


def test_a_repeated_control_that_is_not_learned_is_known() -> None:
    config = parse_label_config(PAGES)
    not_learned = LabelFault(FaultKind.NOT_LEARNED, "b_7")
    assert faults(region("b_7", "brush", []), config=config) == {not_learned}


def test_a_page_that_no_task_can_have_is_named() -> None:
    config = parse_label_config(
        '<View><Image name="image" valueList="$images"/><Choices name="kind" toName="image" '
        'perItem="true"><Choice value="cat"/></Choices></View>'
    )
    bad = region("kind", "choices", ["cat"]) | {"item_index": -1}
    assert faults(bad, config=config) == {LabelFault(FaultKind.NO_IMAGE, "kind")}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(["kind", "tree", "stars", "box", "gone", ""])
TYPES = st.sampled_from(["choices", "taxonomy", "rating", "number", "x"])
REGION = st.fixed_dictionaries(
    {"from_name": NAMES, "type": TYPES, "value": st.dictionaries(TYPES, JSON) | JSON},
    optional={"item_index": JSON},
)


@given(st.lists(REGION, max_size=4))
def test_any_annotation_gives_a_label_or_says_why_not(result: list[dict[str, Any]]) -> None:
    annotation = AnnotationRecord(1, 5, 1.0, 1.0, result)
    found = faults_of(annotation, CONFIG)
    assert found or read_labels([annotation], CONFIG)
    text = faults_to_text(found)
    assert sorted(found)[:20] == ([] if text is None else faults_from_text(text))
