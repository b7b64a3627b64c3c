"""The gate: compares a candidate with the served version on the same unseen tasks."""

from dataclasses import replace

import numpy as np

from model.arrays import Bools, Floats
from model.evaluation.paired_tests import Verdict, compare
from model.targets.kind import fits, learning_of
from model.targets.learned import Learned
from model.targets.schema import Value
from model.training.control import ControlResult, agrees
from services.embedding.vectors import vectors_of
from services.suggestions.predictor import Predictor
from services.training.train import Trained
from services.training.training_set import TrainingSet
from store.files.artifacts import Artifact
from store.store import Store
from store.versions.versions import Version


def judge(candidate: Trained, data: TrainingSet, served: Predictor, artifact: Artifact) -> Verdict:
    """Compare the candidate with the served version on the same unseen tasks.

    Both are scored anew, but for tasks that the served version was trained on: they count with what
    it predicted before it had seen them. An answer is right when an annotator would have changed
    nothing, by the candidate's measure. Classes are looked at one by one, of several an image has
    under the rarest.
    """
    row_of = {int(task): row for row, task in enumerate(data.tasks)}
    served_correct: list[Bools] = []
    candidate_correct: list[Bools] = []
    served_loss: list[Floats] = []
    candidate_loss: list[Floats] = []
    classes: list[str] = []
    for name, result in candidate.results.items():
        old = served.heads.get(name)
        if old is None or not fits(old, result.target):
            return Verdict(True, f"first version that learns {name}")
        if new := _new_classes(result.head, old):
            return Verdict(True, f"learns new classes: {', '.join(new)}")
        x = data.x[[row_of[int(task)] for task in result.unseen.tasks]]
        outputs = old.head.logits(x)
        guess = old.decide(outputs, result.target)
        guess = _before_seen(guess, result, old, name, artifact)
        outputs = _outputs_before_seen(outputs, result, name, artifact)
        served_loss.append(_losses(old, outputs, result))
        candidate_loss.append(_losses(result.head, result.outputs, result))
        served_correct.append(agrees(guess, result.unseen, result.head))
        candidate_correct.append(result.correct)
        prefix = f"{name}: " if len(candidate.results) > 1 else ""
        classes += [
            prefix + label for label in result.unseen.learning.counted_under(result.unseen.labels)
        ]
    names, codes = np.unique(np.array(classes), return_inverse=True)
    return compare(
        np.concatenate(served_correct),
        np.concatenate(candidate_correct),
        codes,
        tuple(names),
        served_loss=np.concatenate(served_loss),
        candidate_loss=np.concatenate(candidate_loss),
    )


def _losses(learned: Learned, outputs: Floats, result: ControlResult) -> Floats:
    """The losses [M] against today's labels; those of numbers in the candidate's tolerance."""
    kind, truth = learning_of(learned), result.unseen.values
    unit = result.head.tolerance or 1.0
    return kind.losses(result.target, learned, outputs, truth, unit=unit)


def _new_classes(candidate: Learned, served: Learned) -> list[str]:
    return sorted(set(candidate.head.classes) - set(served.head.classes))


def _before_seen(
    guess: list[Value], result: ControlResult, old: Learned, control: str, artifact: Artifact
) -> list[Value]:
    tasks = artifact.arrays.get(f"unseen/{control}/tasks")
    if tasks is None:
        return guess
    packed = artifact.arrays[f"unseen/{control}/predicted"]
    predicted = learning_of(old).decode(result.target, old.head.classes, packed)
    before = dict(zip(tasks.tolist(), predicted, strict=True))
    return [
        before.get(int(task), value) for task, value in zip(result.unseen.tasks, guess, strict=True)
    ]


def _outputs_before_seen(
    outputs: Floats, result: ControlResult, control: str, artifact: Artifact
) -> Floats:
    """Outputs [M, C], those for tasks seen since replaced by the stored out-of-fold ones.

    Of tasks that it has seen since, where that was not kept, NaN.
    """
    tasks = artifact.arrays.get(f"unseen/{control}/tasks")
    if tasks is None:
        return outputs
    stored = artifact.arrays.get(f"unseen/{control}/outputs")
    row_of = {task: row for row, task in enumerate(tasks.tolist())}
    before = np.array(outputs, np.float32)
    for row, task in enumerate(result.unseen.tasks.tolist()):
        if task in row_of:
            before[row] = np.nan if stored is None else stored[row_of[task]]
    return before


def judge_anywhere(
    store: Store,
    candidate: Trained,
    data: TrainingSet,
    served: Predictor | None,
    version: Version | None,
) -> Verdict:
    """Compare them also when the served version's embeddings are in another space."""
    if served is None or version is None or version.artifact is None or not served.heads:
        return Verdict(True, "first version")
    if served.space != data.space:
        data = _in_space(store, data, served.space)
        candidate = _only(candidate, {int(task) for task in data.tasks})
        if not candidate.results:
            return Verdict(True, "nothing is left to compare it on")
    return judge(candidate, data, served, store.artifacts.load(version.artifact))


def _in_space(store: Store, data: TrainingSet, space: str) -> TrainingSet:
    vectors = vectors_of(store, space, data.image_keys)
    rows = [row for row, key in enumerate(data.image_keys) if key in vectors]
    keys = [data.image_keys[row] for row in rows]
    x = np.stack([vectors[key] for key in keys]) if keys else np.empty((0, 0), np.float16)
    return replace(data, tasks=data.tasks[rows], image_keys=keys, x=x, space=space)


def _only(candidate: Trained, tasks: set[int]) -> Trained:
    """The candidate's results for these tasks alone."""
    results = {}
    for name, result in candidate.results.items():
        mask = np.array([int(task) in tasks for task in result.unseen.tasks], np.bool_)
        if mask.any():
            results[name] = replace(
                result,
                unseen=result.unseen.part(mask),
                outputs=result.outputs[mask],
                predicted=[
                    value for value, keep in zip(result.predicted, mask, strict=True) if keep
                ],
                correct=result.correct[mask],
            )
    return replace(candidate, results=results)
