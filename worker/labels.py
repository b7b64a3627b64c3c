"""From annotations to labels: which class each task has, by control."""

from collections import Counter
from collections.abc import Iterable

from store.annotations import AnnotationRecord
from studio.config import LabelConfig

Labels = dict[int, dict[str, str]]  # {task: {control: class}}


def read_labels(annotations: Iterable[AnnotationRecord], config: LabelConfig) -> Labels:
    """The labels of all tasks with a usable annotation.

    Ground truth counts before anything else; else the majority; of a tie, the newest annotation.

    Args:
        annotations: those that count, the oldest first.
    """
    votes: dict[int, dict[str, list[tuple[bool, str]]]] = {}
    for annotation in annotations:
        for control in config.controls:
            choice = control.read(annotation.result)
            if choice is not None:
                of_task = votes.setdefault(annotation.task_ls_id, {})
                of_task.setdefault(control.name, []).append((annotation.ground_truth, choice))
    return {
        task: {control: _decide(cast) for control, cast in controls.items()}
        for task, controls in votes.items()
    }


def _decide(cast: list[tuple[bool, str]]) -> str:
    truths = [choice for is_truth, choice in cast if is_truth]
    choices = truths or [choice for _, choice in cast]
    counts = Counter(choices)
    most = max(counts.values())
    return next(choice for choice in reversed(choices) if counts[choice] == most)
