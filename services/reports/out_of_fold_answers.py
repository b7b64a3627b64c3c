"""Out-of-fold answers: predictions for labelled tasks by heads that have not seen the labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.arrays import Floats
from model.targets.kind import fits, value_json
from model.targets.learned import Learned
from model.training.control import ControlData, ControlResult, agrees
from services.labels.answer_groups import group_of
from store.tasks.units import task_of


@dataclass(frozen=True)
class OutOfFoldAnswer:
    """The answer for a task: all controls right, their least confidence, the answer's group.

    Of a task with several images, of all that are labelled.
    """

    right: bool
    confidence: float
    group: str


def out_of_fold_answers(results: Mapping[str, ControlResult]) -> dict[int, OutOfFoldAnswer]:
    """{task: answer} of the labelled tasks with an out-of-fold prediction.

    On a fine-tuned backbone those are the ones that are held out.
    """
    answers = _Answers()
    for control, result in results.items():
        data, outputs = result.out_of_fold, result.out_of_fold_outputs
        if data.pretrained is not None:  # then these are of heads on other features
            data, outputs = result.unseen, result.outputs
        answers.add(control, data, result.head, outputs)
    return answers.by_task()


def answers_of(
    heads: Mapping[str, Learned], results: Mapping[str, ControlResult]
) -> dict[int, OutOfFoldAnswer]:
    """{task: answer} of other heads in the same space, for the labelled tasks of `results`.

    They may have seen some of the labels: the caller knows which. Empty where a control has no
    head, or one for another kind of target.
    """
    answers = _Answers()
    for control, result in results.items():
        head = heads.get(control)
        if head is None or not fits(head, result.target):
            return {}
        data = result.out_of_fold if result.out_of_fold.pretrained is None else result.unseen
        answers.add(control, data, head, head.head.logits(data.x))
    return answers.by_task()


class _Answers:
    """Collects the answers of all controls by task."""

    def __init__(self) -> None:
        self._right: dict[int, bool] = {}
        self._confidence: dict[int, float] = {}
        self._values: dict[int, list[tuple[str, Any]]] = {}

    def add(self, control: str, data: ControlData, head: Learned, outputs: Floats) -> None:
        """Add a head's outputs [N, C] for the rows of one control."""
        values = head.decide(outputs, data.target)
        correct = agrees(values, data, head)
        confidence = np.nan_to_num(head.confidence(outputs), nan=0.0)
        for row, unit in enumerate(data.tasks.tolist()):
            task = task_of(unit)
            self._right[task] = self._right.get(task, True) and bool(correct[row])
            least = min(self._confidence.get(task, 1.0), float(confidence[row]))
            self._confidence[task] = least
            value = value_json(data.target, values[row])
            self._values.setdefault(task, []).append((control, value))

    def by_task(self) -> dict[int, OutOfFoldAnswer]:
        return {
            task: OutOfFoldAnswer(right, self._confidence[task], group_of(self._values[task]))
            for task, right in self._right.items()
        }
