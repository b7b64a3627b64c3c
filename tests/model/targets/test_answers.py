"""From a head's outputs to labels, and from labels to arrays."""

import numpy as np
import pytest

from model.heads import FitData, fit, fit_labels, fit_number
from model.heads.linear import LinearHead
from model.registry import UnknownNameError
from model.targets.calibrated_labels import CalibratedLabels
from model.targets.kind import fits, get_kind, kind_of, learning_of
from model.targets.labels import EncodedLabels
from model.targets.learned import Learned
from model.targets.number import CalibratedNumber, nearest, tolerance_of
from model.targets.schema import (
    MultiLabel,
    Number,
    Path,
    Paths,
    SingleLabel,
    TargetSchema,
    Value,
    path_name,
    path_of,
)
from model.targets.single import CalibratedHead

TREE = (
    ("pet",),
    ("pet", "cat"),
    ("pet", "cat", "tabby"),
    ("pet", "dog"),
    ("wild",),
    ("wild", "fox"),
)


def encode(schema: TargetSchema, values: list[Value | None]) -> EncodedLabels:
    return kind_of(schema).encode(schema, values)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(90, 8)).astype(np.float32)


def labels_of(x: np.ndarray) -> list[frozenset[Path]]:
    leaves = [("pet", "cat", "tabby"), ("pet", "dog"), ("wild", "fox")]
    return [frozenset(leaves[i] for i in range(3) if row[i] > 0) for row in x]


@pytest.mark.parametrize(
    "path",
    [("a",), ("a", "b"), ("a/b", "c"), ("a / b", "c"), ("/", "//"), (" / ", "x/"), ("", "a")],
)
def test_a_path_has_a_name_and_back(path: Path) -> None:
    assert path_of(path_name(path)) == path


def test_names_of_different_paths_differ() -> None:
    paths = [("a", "b"), ("a / b",), ("a /", "b"), ("a", "/ b"), ("a/b",), ("a//b",)]
    assert len({path_name(path) for path in paths}) == len(paths)


def test_what_is_above_is_at_least_as_probable(x: np.ndarray) -> None:
    encoded = encode(Paths(TREE, multiple=True), labels_of(x))
    head = fit_labels(FitData.of(x, encoded.y, encoded.names, seed=0))
    p = CalibratedLabels(head, 1.0, tree=True).probabilities(x * 3)
    for child, name in enumerate(encoded.names):
        above = path_of(name)[:-1]
        if above:
            parent = encoded.names.index(path_name(above))
            assert (p[:, parent] >= p[:, child]).all()
    assert ((p >= 0) & (p <= 1)).all()


def test_the_most_specific_paths_are_said(x: np.ndarray) -> None:
    target, labels = Paths(TREE, multiple=True), labels_of(x)
    encoded = encode(target, labels)
    learned = CalibratedLabels(
        fit_labels(FitData.of(x, encoded.y, encoded.names, seed=0)), 1.0, tree=True
    )
    answers = learned.answers(x, target)
    decided = learned.decide(learned.head.logits(x), target)
    assert [answer.value for answer in answers] == decided
    right = [value == label for value, label in zip(decided, labels, strict=True)]
    assert np.mean(right) > 0.8
    assert all(0 <= answer.confidence <= answer.score <= 1 for answer in answers)


def test_leaves_alone_are_said_where_nothing_else_can_be_chosen(x: np.ndarray) -> None:
    target = Paths(TREE, multiple=True, leaves_only=True)
    encoded = encode(target, labels_of(x))
    can = target.choosable(encoded.names)
    assert {encoded.names[i] for i in np.flatnonzero(can)} == {
        "pet / cat / tabby",
        "pet / dog",
        "wild / fox",
    }
    learned = CalibratedLabels(
        fit_labels(FitData.of(x, encoded.y, encoded.names, seed=0)), 1.0, tree=True
    )
    said = {path for answer in learned.answers(x, target) for path in answer.value}
    assert said == {("pet", "cat", "tabby"), ("pet", "dog"), ("wild", "fox")}


def test_paths_are_one_of_many_while_every_label_is_one() -> None:
    target = Paths(TREE, multiple=True)
    one = [frozenset({("pet", "cat")}), None, frozenset({("pet",)})]
    encoded = encode(target, one)
    assert (encoded.kind, encoded.names) == ("single", ("pet", "pet / cat"))
    assert (encoded.rows.tolist(), encoded.y.tolist()) == ([0, 2], [1, 0])
    assert encode(target, [*one, frozenset()]).kind == "multi"


def test_of_a_changed_config_only_what_is_left_is_said(x: np.ndarray) -> None:
    y = (x[:, 0] > 0).astype(int) + (x[:, 1] > 1)
    learned = CalibratedHead(fit(FitData.of(x, y, ("a", "b", "c"), seed=0)), 1.0)
    p = learned.probabilities(x)
    answers = learned.answers(x, SingleLabel(("c", "new", "a")))
    assert {answer.value for answer in answers} <= {"a", "c"}
    assert answers[0].score == pytest.approx(p[0, [0, 2]].max())
    gone = learned.answers(x, SingleLabel(("new",)))
    assert all(answer.value is None and answer.confidence == 0 for answer in gone)


def test_among_what_a_task_offers_one_is_right(x: np.ndarray) -> None:
    y = (x[:, 0] > 0).astype(int) + (x[:, 1] > 1)
    learned = CalibratedHead(fit(FitData.of(x, y, ("a", "b", "c"), seed=0)), 1.0)
    offers = [frozenset({"b"}), frozenset({"a", "c"}), frozenset({"never labelled"}), None]
    one, two, none, all_of_them = learned.answers(x[:4], SingleLabel((), open=True), offers=offers)
    assert (one.value, one.score) == ("b", 1.0)
    assert two.value in ("a", "c")
    assert two.score >= 0.5
    assert none.value is None
    assert all_of_them.score == pytest.approx(learned.probabilities(x[3:4]).max())


def test_an_embedding_without_numbers_says_nothing(x: np.ndarray) -> None:
    y = (x[:, 0] > 0).astype(int)
    odd = np.full((1, 8), np.nan, np.float32)
    several = np.stack([y, 1 - y], axis=1).astype(np.float32)
    for learned, target in (
        (CalibratedHead(fit(FitData.of(x, y, ("a", "b"), seed=0)), 1.0), SingleLabel(("a", "b"))),
        (
            CalibratedLabels(
                fit_labels(FitData.of(x, several, ("a", "b"), seed=0)), 1.0, tree=False
            ),
            MultiLabel(("a", "b")),
        ),
        (CalibratedNumber(fit_number(FitData.of(x, x[:, 0], seed=0)), 0.1), Number()),
    ):
        (answer,) = learned.answers(odd, target, least=0.0)
        assert (answer.value, answer.confidence) == (None, 0)


def test_several_classes_are_said_from_a_threshold_on(x: np.ndarray) -> None:
    y = (x[:, :3] + 0.7 * x[:, 3:6] > 0).astype(np.float32)
    target = MultiLabel(("a", "b", "c"))
    learned = CalibratedLabels(
        fit_labels(FitData.of(x, y, target.classes, seed=0)), 1.0, tree=False
    )
    p = learned.probabilities(x)
    for least in (0.1, 0.5, 0.9):
        answers = learned.answers(x, target, least=least)
        for row, answer in enumerate(answers):
            sure = {name for name, q in zip("abc", p[row], strict=True) if q >= max(least, 0.5)}
            assert answer.value == sure
            assert answer.confidence == pytest.approx(np.maximum(p[row], 1 - p[row]).min())


@pytest.mark.parametrize(
    ("value", "target", "said"),
    [
        (2.4, Number(1, 5, 1), 2.0),
        (9.0, Number(1, 5, 1), 5.0),
        (-3.0, Number(1, 5, 1), 1.0),
        (0.34, Number(0, None, 0.1), 0.3),
        (7.9, Number(0, 8, 3), 6.0),
        (7.9, Number(None, None, None), 7.9),
        (7.9, Number(None, 5, None), 5.0),
        (-7.4, Number(None, None, 0.5), -7.5),
    ],
)
def test_a_number_is_said_as_the_config_allows(value: float, target: Number, said: float) -> None:
    assert nearest(value, target) == said


def test_how_sure_a_number_is_and_its_interval() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(900, 6)).astype(np.float32)
    truth = 3 * x[:, 0] / np.linalg.norm(x, axis=1) + rng.normal(size=900) * 0.4
    target = Number(-3, 3)
    learned = CalibratedNumber(
        fit_number(FitData.of(x[:400], truth[:400], seed=0)), tolerance_of(truth[:400], target)
    )
    answers = learned.answers(x[400:], target)
    unseen = truth[400:]
    said = np.array([answer.value for answer in answers])
    right = np.abs(said - unseen) <= learned.tolerance
    assert np.mean([answer.score for answer in answers]) == pytest.approx(right.mean(), abs=0.06)
    inside = [
        answer.interval[0] <= min(max(true, -3), 3) <= answer.interval[1]
        for true, answer in zip(unseen, answers, strict=True)
    ]
    assert 0.85 <= np.mean(inside) <= 0.96


def test_what_was_learned_is_stored_and_loaded(x: np.ndarray) -> None:
    target = Paths(TREE, multiple=True)
    encoded = encode(target, labels_of(x))
    learned = CalibratedLabels(
        fit_labels(FitData.of(x, encoded.y, encoded.names, seed=0)), 0.7, tree=True
    )
    kind = learning_of(learned)
    again = kind.load(learned.head, learned.settings())
    assert again == learned
    values = learned.decide(learned.head.logits(x), target)
    packed = kind.pack(target, learned.head.classes, values)
    assert kind.decode(target, again.head.classes, packed) == values
    number = CalibratedNumber(fit_number(FitData.of(x, x[:, 0], seed=0)), 0.25)
    assert learning_of(number).load(number.head, number.settings()) == number
    with pytest.raises(ValueError, match="can't be learned as 'number'"):
        get_kind("number").load(learned.head, {"tolerance": 1})
    with pytest.raises(UnknownNameError, match="No kind of target is called 'numbre'"):
        get_kind("numbre")


def learned_as(form: str) -> Learned:
    head = LinearHead(form, (), np.zeros((2, 0)), np.zeros(0), 1.0, 0.0)
    return {
        "single": CalibratedHead(head, 1.0),
        "multi": CalibratedLabels(head, 1.0, tree=False),
        "number": CalibratedNumber(head, 0.5),
    }[form]


def test_what_answers_for_which_target() -> None:
    assert fits(learned_as("single"), SingleLabel(("a",)))
    assert fits(learned_as("single"), MultiLabel(("a",)))
    assert not fits(learned_as("multi"), SingleLabel(("a",)))
    assert not fits(learned_as("number"), SingleLabel(("a",)))
    assert not fits(learned_as("single"), Number())
