"""Out-of-fold answers: what heads predict for labelled tasks before they have seen the labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.targets.kind import value_json
from model.training.control import ControlResult, agrees
from services.labels.answer_groups import group_of
from store.tasks.units import task_of


@dataclass(frozen=True)
class OutOfFoldAnswer:
    """Of one task: whether all controls are right, how sure the least sure is, what was said.

    Of a task with several images, of all that are labelled.
    """

    right: bool
    confidence: float
    group: str


def out_of_fold_answers(results: Mapping[str, ControlResult]) -> dict[int, OutOfFoldAnswer]:
    """{task: answer} of the labelled tasks that some head has answered unseen.

    On a fine-tuned backbone those are the ones that are held out.
    """
    right: dict[int, bool] = {}
    sure: dict[int, float] = {}
    said: dict[int, list[tuple[str, Any]]] = {}
    for control, result in results.items():
        data, outputs, learned = result.out_of_fold, result.out_of_fold_outputs, result.head
        if data.pretrained is not None:  # then these are of heads on other features
            data, outputs = result.unseen, result.outputs
        values = learned.decide(outputs, data.target)
        correct = agrees(values, data, learned)
        confidence = np.nan_to_num(learned.confidence(outputs), nan=0.0)
        for row, unit in enumerate(data.tasks.tolist()):
            task = task_of(unit)
            right[task] = right.get(task, True) and bool(correct[row])
            sure[task] = min(sure.get(task, 1.0), float(confidence[row]))
            said.setdefault(task, []).append((control, value_json(data.target, values[row])))
    return {task: OutOfFoldAnswer(right[task], sure[task], group_of(said[task])) for task in right}
