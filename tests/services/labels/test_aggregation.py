"""From annotations to labels, when annotators disagree."""

from typing import Any

import pytest

from model.targets.schema import Value
from services.labels.aggregation import read_labels
from store.tasks.annotations import AnnotationRecord
from studio.config import parse_label_config
from tests.support.workbench import label_config, region


def annotation(name: str, at: float, *, truth: bool = False) -> AnnotationRecord:
    result = [
        {"from_name": "kind", "to_name": "image", "type": "choices", "value": {"choices": [name]}}
    ]
    return AnnotationRecord(int(at), 5, at, at, result, ground_truth=truth)


@pytest.mark.parametrize(
    ("annotations", "label"),
    [
        ([annotation("cat", 1)], "cat"),
        ([annotation("cat", 1), annotation("dog", 2), annotation("cat", 3)], "cat"),
        ([annotation("cat", 1), annotation("dog", 2)], "dog"),
        ([annotation("cat", 1, truth=True), annotation("dog", 2), annotation("dog", 3)], "cat"),
    ],
    ids=["one", "majority", "the newest of a tie", "ground truth"],
)
def test_the_label_of_a_task(annotations: list[AnnotationRecord], label: str) -> None:
    assert read_labels(annotations, parse_label_config(label_config())) == {5: {"kind": label}}


def test_an_annotation_without_a_choice_is_no_label() -> None:
    empty = AnnotationRecord(1, 5, 1.0, 1.0, [])
    assert read_labels([empty], parse_label_config(label_config())) == {}


TREE = '<Choice value="pet"><Choice value="cat"/><Choice value="dog"/></Choice><Choice value="x"/>'
AB = '<Choice value="a"/><Choice value="b"/><Choice value="c"/>'
CONTROLS = parse_label_config(
    '<View><Image name="image" value="$image"/>'
    f'<Choices name="tags" toName="image" choice="multiple">{AB}</Choices>'
    f'<Taxonomy name="tree" toName="image" required="true">{TREE}</Taxonomy>'
    '<Rating name="stars" toName="image"/></View>'
)


def labels_of(*results: list[dict[str, Any]]) -> dict[str, Value]:
    """Of one task, annotated with these results one after another."""
    annotations = [
        AnnotationRecord(at, 5, float(at), float(at), result) for at, result in enumerate(results)
    ]
    return read_labels(annotations, CONTROLS)[5]


def test_of_several_classes_each_has_its_own_majority() -> None:
    def tags(*names: str) -> list[dict[str, Any]]:
        return [region("tags", "choices", list(names))]

    assert labels_of(tags("a", "b"), tags("a"), tags("b", "c")) == {"tags": {"a", "b"}}
    assert labels_of(tags("a", "b"), tags("b", "c")) == {"tags": {"b", "c"}}
    assert labels_of(tags("a"), tags(), tags()) == {"tags": frozenset()}
    assert labels_of(tags("a"), tags("b"), tags("c")) == {"tags": {"c"}}


def test_an_annotation_that_mentions_none_of_several_says_so() -> None:
    assert labels_of([]) == {"tags": frozenset()}
    assert labels_of([region("stars", "rating", 2)]) == {"tags": frozenset(), "stars": 2.0}
    # What can't be read is no statement.
    gone = labels_of([region("tags", "choices", ["gone"]), region("stars", "rating", 2)])
    assert gone == {"stars": 2.0}


def test_of_several_paths_the_majority_may_stop_above() -> None:
    def tree(*paths: list[str]) -> list[dict[str, Any]]:
        return [region("tags", "choices", []), region("tree", "taxonomy", list(paths))]

    cat, dog, pet = ["pet", "cat"], ["pet", "dog"], ["pet"]
    assert labels_of(tree(cat), tree(cat), tree(dog))["tree"] == {("pet", "cat")}
    assert labels_of(tree(cat), tree(dog), tree(pet))["tree"] == {("pet",)}


def test_of_three_numbers_the_median_and_of_two_the_newest() -> None:
    def stars(count: int) -> list[dict[str, Any]]:
        return [region("stars", "rating", count)]

    assert labels_of(stars(5), stars(1), stars(2))["stars"] == 2.0
    assert labels_of(stars(5), stars(1))["stars"] == 1.0
    assert labels_of(stars(1), stars(2), stars(4), stars(5))["stars"] in (2.0, 4.0)
