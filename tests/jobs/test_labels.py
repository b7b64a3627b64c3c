"""From annotations to labels, when annotators disagree."""

import pytest

from store.annotations import AnnotationRecord
from studio.config import parse_label_config
from tests.jobs.workbench import label_config
from worker.labels import read_labels


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
