"""From labels and embeddings to fitted heads that are measured, calibrated and compared."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model.calibration import fit_temperature, softmax
from model.evaluation import Accuracy, accuracy, out_of_fold_logits
from model.gate import Verdict, compare
from model.groups import near_duplicate_groups
from model.heads import fit
from store.artifacts import Arrays, Artifact
from studio.config import LabelConfig
from worker.labels import Labels
from worker.predictor import CalibratedHead, Predictor

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

HOLDOUT_FROM = 300  # labels: below, withholding some costs more than it tells
HOLDOUT_SHARE = 0.2  # of the labels, of those that may be held out at all
HOLDOUT_LEAST = 60  # held-out labels that say more than out-of-fold evaluation does


@dataclass(frozen=True)
class TrainingSet:
    """Labelled, embedded tasks: `tasks` [N], their embeddings `x` [N, D] and labels."""

    tasks: Ints
    image_keys: Sequence[str]
    x: Floats
    labels: Labels
    holdout: frozenset[int]
    space: str

    def digest(self, config: LabelConfig) -> str:
        """What a version was trained on, as a hash: the same digest gives the same heads."""
        known = [
            [int(task), key, sorted(self.labels[int(task)].items())]
            for task, key in zip(self.tasks, self.image_keys, strict=True)
        ]
        schemas = [[control.name, list(control.schema.classes)] for control in config.controls]
        text = json.dumps([self.space, schemas, sorted(known), sorted(self.holdout)])
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class ControlResult:
    """One control's head, and what it predicted for tasks that it had not seen."""

    head: CalibratedHead
    tasks: Ints  # [M] evaluated
    truth: Ints  # [M] indices into the head's classes
    predicted: Ints  # [M]
    accuracy: Accuracy


@dataclass(frozen=True)
class Trained:
    """All heads of a candidate. `untrained` says, by control, why it has none."""

    results: dict[str, ControlResult]
    untrained: dict[str, str]
    held_out: bool

    @property
    def accuracy(self) -> Accuracy:
        """Over all controls together."""
        return accuracy(np.concatenate([r.predicted == r.truth for r in self.results.values()]))

    @property
    def hardest(self) -> str:
        """The control with the lowest accuracy."""
        return min(self.results, key=lambda name: self.results[name].accuracy.value)

    def predictor(self, space: str) -> Predictor:
        """The heads, ready to answer."""
        return Predictor({name: result.head for name, result in self.results.items()}, space)

    def metrics(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "accuracy": vars(self.accuracy),
            "evaluation": "hold-out" if self.held_out else "out of fold",
            "controls": {
                name: {
                    "accuracy": vars(result.accuracy),
                    "classes": list(result.head.head.classes),
                    "head": result.head.head.kind,
                    "temperature": result.head.temperature,
                }
                for name, result in self.results.items()
            },
            "untrained": self.untrained,
        }

    def artifact(self, space: str, digest: str) -> Artifact:
        """The heads with what they predicted for unseen tasks: the next gate compares with it."""
        unseen: Arrays = {}
        for name, result in self.results.items():
            unseen[f"unseen/{name}/tasks"] = result.tasks
            unseen[f"unseen/{name}/predicted"] = result.predicted
        return self.predictor(space).artifact(
            {"labels_digest": digest, "metrics": self.metrics()}, unseen
        )


def train(
    data: TrainingSet, config: LabelConfig, *, seed: int, served: Predictor | None
) -> Trained:
    """Fit, evaluate and calibrate a head for every control that has two classes with labels."""
    held_out = len(data.holdout) >= HOLDOUT_LEAST
    groups = near_duplicate_groups(data.x, data.image_keys)
    results: dict[str, ControlResult] = {}
    untrained: dict[str, str] = {}
    for control in config.controls:
        names = [data.labels[int(task)].get(control.name) for task in data.tasks]
        present = tuple(name for name in control.schema.classes if name in set(names))
        if len(present) < 2:
            untrained[control.name] = _too_few(control.name, present)
            continue
        code = {name: i for i, name in enumerate(present)}
        rows = np.flatnonzero([name in code for name in names])
        y = np.array([code[names[row]] for row in rows], np.int64)
        warm = served.heads.get(control.name) if served else None
        subset = _Subset(data.tasks[rows], data.x[rows], y, groups[rows])
        if len(np.unique(subset.groups)) < 2:
            untrained[control.name] = f"{control.name}: all labelled images are copies of one"
            continue
        results[control.name] = _train_one(
            subset, present, data.holdout if held_out else frozenset(), seed, warm
        )
    return Trained(results, untrained, held_out)


def _too_few(control: str, present: tuple[str, ...]) -> str:
    if not present:
        return f"{control}: no label yet"
    return f"{control}: only {present[0]!r} is labelled so far; a second class is needed"


@dataclass(frozen=True)
class _Subset:
    tasks: Ints
    x: Floats
    y: Ints
    groups: Ints

    def __getitem__(self, rows: Bools) -> "_Subset":
        return _Subset(self.tasks[rows], self.x[rows], self.y[rows], self.groups[rows])


def _train_one(
    data: _Subset,
    classes: tuple[str, ...],
    holdout: frozenset[int],
    seed: int,
    warm: CalibratedHead | None,
) -> ControlResult:
    held = np.array([int(task) in holdout for task in data.tasks], np.bool_)
    tied = np.isin(data.groups, data.groups[held])
    training = data[~tied] if held.any() else data
    if len(np.unique(training.y)) < len(classes):
        held[:] = False  # all of a class is held out: rather evaluate out of fold
        training = data
    start = warm.head if warm and warm.head.classes == classes else None
    head = fit(training.x, training.y, classes, seed=seed, warm_start=start, groups=training.groups)
    logits = out_of_fold_logits(training.x, training.y, training.groups, classes, seed=seed)
    temperature = fit_temperature(logits, training.y)
    calibrated = CalibratedHead(head, temperature)
    if held.any():
        evaluated = data[held]
        predicted = head.logits(evaluated.x).argmax(axis=1)
    else:
        evaluated = training
        predicted = softmax(logits).argmax(axis=1)
    return ControlResult(
        calibrated,
        evaluated.tasks,
        evaluated.y,
        predicted.astype(np.int64),
        accuracy(predicted == evaluated.y),
    )


def judge(candidate: Trained, data: TrainingSet, served: Predictor, artifact: Artifact) -> Verdict:
    """Compare the candidate with the served version on the same unseen tasks.

    On the hold-out both are scored anew. Out of fold, a task that the served version was trained on
    counts with what it predicted before it had seen it; any other is predicted now.
    """
    row_of = {int(task): row for row, task in enumerate(data.tasks)}
    served_correct: list[Bools] = []
    candidate_correct: list[Bools] = []
    truths: list[npt.NDArray[np.str_]] = []
    for name, result in candidate.results.items():
        classes = np.array(result.head.head.classes)
        old = served.heads.get(name)
        if old is None:
            return Verdict(True, f"first version that learns {name}")
        if new := sorted(set(classes) - set(old.head.classes)):
            return Verdict(True, f"learns new classes: {', '.join(new)}")
        x = data.x[[row_of[int(task)] for task in result.tasks]]
        names = np.array(old.head.classes)
        guess = names[old.head.logits(x).argmax(axis=1)]
        if not candidate.held_out:
            guess = _before_seen(guess, result.tasks, names, name, artifact)
        truth = classes[result.truth]
        truths.append(np.char.add(f"{name}: ", truth) if len(candidate.results) > 1 else truth)
        served_correct.append(guess == truth)
        candidate_correct.append(result.predicted == result.truth)
    truth = np.concatenate(truths)
    classes, codes = np.unique(truth, return_inverse=True)
    return compare(
        np.concatenate(served_correct), np.concatenate(candidate_correct), codes, tuple(classes)
    )


def _before_seen(
    guess: npt.NDArray[np.str_],
    tasks: Ints,
    names: npt.NDArray[np.str_],
    control: str,
    artifact: Artifact,
) -> npt.NDArray[np.str_]:
    known = artifact.arrays.get(f"unseen/{control}/tasks")
    if known is None:
        return guess
    predicted = artifact.arrays[f"unseen/{control}/predicted"]
    before = dict(zip(known.tolist(), predicted.tolist(), strict=True))
    return np.array(
        [
            names[before[int(task)]] if int(task) in before else now
            for task, now in zip(tasks, guess, strict=True)
        ]
    )


def extend_holdout(data: TrainingSet, eligible: Mapping[int, bool], *, seed: int) -> frozenset[int]:
    """Tasks to hold out from now on, whole near-duplicate groups at a time.

    Args:
        eligible: {task: whether it is ground truth} of labels that nobody chose for being hard.
    """
    wanted = int(HOLDOUT_SHARE * len(data.tasks)) - len(data.holdout)
    if len(data.tasks) < HOLDOUT_FROM or wanted <= 0:
        return frozenset()
    groups = near_duplicate_groups(data.x, data.image_keys)
    members: dict[int, list[int]] = {}
    for task, group in zip(data.tasks, groups, strict=True):
        members.setdefault(int(group), []).append(int(task))
    free = [
        group
        for group, tasks in members.items()
        if all(task in eligible and task not in data.holdout for task in tasks)
    ]
    rng = np.random.default_rng(seed)
    order = sorted(free, key=lambda g: (not eligible[members[g][0]], rng.random()))
    taken: list[int] = []
    for group in order:
        if len(taken) >= wanted:
            break
        taken += members[group]
    return frozenset(taken)
