"""Kinds of target: agreement, votes, JSON and chance, by schema."""

import numpy as np
import pytest

from model.annotators.vote_matrix import Vote, VoteMatrix
from model.heads import FitData
from model.targets.kind import TARGETS, TargetKind, get_kind, kind_of, learning_of
from model.targets.schema import MultiLabel, Number, Paths, SingleLabel, TargetSchema, Value

ONE, SEVERAL = SingleLabel(("a", "b", "c")), MultiLabel(("a", "b", "c"))
TREE = Paths((("a",), ("a", "b"), ("a", "c"), ("d",)), multiple=True)
AB, AC, D = ("a", "b"), ("a", "c"), ("d",)


def test_each_schema_names_a_kind_that_is_registered() -> None:
    assert {schema.kind for schema in (ONE, SEVERAL, TREE, Number())} == set(TARGETS.names())


@pytest.mark.parametrize(
    ("schema", "votes", "label"),
    [
        (ONE, ["a", "b", "a"], "a"),
        (ONE, ["a", "b"], "b"),  # the newest
        (SEVERAL, [frozenset("ab"), frozenset("b"), frozenset("c")], frozenset("b")),
        (SEVERAL, [frozenset(), frozenset("c"), frozenset("b")], frozenset("b")),
        (TREE, [frozenset({AB}), frozenset({AC})], frozenset({AC})),
        (TREE, [frozenset({AB}), frozenset({AC}), frozenset({D})], frozenset({("a",)})),
        (Paths(TREE.paths, multiple=False), [frozenset({AB}), frozenset({D})], frozenset({D})),
        (Number(), [1.0, 9.0, 2.0], 2.0),
        (Number(), [1.0, 9.0], 9.0),
    ],
)
def test_votes_are_resolved(schema: TargetSchema, votes: list[Value], label: Value) -> None:
    assert kind_of(schema).resolve(schema, votes) == label


def test_numbers_agree_within_the_tolerance_and_classes_when_they_are_equal() -> None:
    number = kind_of(Number())
    assert number.agrees(Number(), [1.0, 1.0], [1.5, 1.6], tolerance=0.5).tolist() == [True, False]
    assert number.agrees(Number(), [1.0, 1.0], [1.0, 1.01]).tolist() == [True, False]
    several = kind_of(SEVERAL)
    sets = [frozenset("a"), frozenset("ab")], [frozenset("a"), frozenset("a")]
    assert several.agrees(SEVERAL, *sets).tolist() == [True, False]
    unasked = [frozenset(), frozenset("b")]
    assert several.agrees(SEVERAL, *sets, unasked=unasked).tolist() == [True, True]


def test_a_differing_label_may_be_an_edit_of_the_suggestion() -> None:
    assert not kind_of(ONE).is_edit("a", "b")
    assert kind_of(SEVERAL).is_edit(frozenset("ab"), frozenset("bc"))
    assert not kind_of(SEVERAL).is_edit(frozenset("a"), frozenset("bc"))
    assert kind_of(Number()).is_edit(1.0, 9.0)


def test_the_chance_of_a_guess() -> None:
    schemas = ONE, SingleLabel((), open=True), SEVERAL, TREE, Paths(TREE.paths, multiple=False)
    found = [kind_of(schema).chance(schema) for schema in schemas]
    assert found == [pytest.approx(1 / 3), 0.5, 0.5, 0.5, 0.25]


@pytest.mark.parametrize(
    ("schema", "values"),
    [
        (ONE, ["a", "c", "a"]),
        (SEVERAL, [frozenset("ab"), frozenset(), frozenset("c")]),
        (TREE, [frozenset({AB}), frozenset({AC}), frozenset({D})]),
        (TREE, [frozenset({AB, D}), frozenset(), frozenset({("a",)})]),
        (Number(), [1.5, 2.0, 1.0]),
    ],
)
def test_values_come_back_from_their_arrays(schema: TargetSchema, values: list[Value]) -> None:
    labels = kind_of(schema).encode(schema, [*values, None])
    assert labels.rows.tolist() == [0, 1, 2]
    learning: TargetKind = learning_of(labels)
    assert learning.decode(schema, labels.names, labels.y) == values
    packed = learning.pack(schema, labels.names, values)
    assert learning.decode(schema, labels.names, packed) == values
    assert len(learning.counted_under(labels)) == len(learning.strata(labels)) == 3


def test_two_votes_that_differ_make_a_soft_label() -> None:
    rng = np.random.default_rng(0)
    values: list[Value] = [*"ab"] * 30
    x = rng.normal(size=(60, 6)) + 3 * np.array([[value == "a"] for value in values])
    labels = kind_of(ONE).encode(ONE, values)
    votes = [[Vote(1, value, False), Vote(2, value, False)] for value in values]
    votes[4] = [Vote(1, "a", False), Vote(2, "b", False)]
    data = FitData.of(x, labels.y, labels.names, seed=0)
    soft = get_kind("single").soft_labels(ONE, labels, data, VoteMatrix(votes))
    rows = np.flatnonzero(soft.rows == 4)
    assert soft.fitted.y[rows].tolist() == [0, 1]
    assert soft.weight is not None
    assert soft.weight[rows].sum() == pytest.approx(1)
    assert soft.weight[rows][0] > 0.5  # the model sees an "a"
    assert len(soft.first) == 60
