"""What heads said of labelled tasks before they had seen the labels, over all controls together."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from model.arrays import Floats
from model.statistics.calibration import softmax
from model.targets.encoding import unknown_names
from model.targets.registry import CalibratedLabels, Learned
from model.targets.schema import Value
from model.training.control import ControlResult, agree
from services.labels.answer_groups import group_of
from store.tasks.units import task_of


@dataclass(frozen=True)
class HonestAnswer:
    """Of one task: whether all controls are right, how sure the least sure is, what was said.

    Of a task with several images, of all that are labelled.
    """

    right: bool
    confidence: float
    group: str


def honest_answers(results: Mapping[str, ControlResult]) -> dict[int, HonestAnswer]:
    """{task: answer} of the labelled tasks that some head has answered unseen.

    On a fine-tuned backbone those are the ones that are held out.
    """
    right: dict[int, bool] = {}
    sure: dict[int, float] = {}
    said: dict[int, list[tuple[str, Value]]] = {}
    for control, result in results.items():
        data, outputs, learned = result.honest, result.honest_outputs, result.head
        if data.pretrained is not None:  # then these are of heads on other features
            data, outputs = result.unseen, result.outputs
        values = learned.decide(outputs, data.target)
        correct = agree(values, data.values, learned, unknown_names(data.labels))
        confidence = _confidence(learned, outputs, data.x)
        for row, unit in enumerate(data.tasks.tolist()):
            task = task_of(unit)
            right[task] = right.get(task, True) and bool(correct[row])
            sure[task] = min(sure.get(task, 1.0), float(confidence[row]))
            said.setdefault(task, []).append((control, values[row]))
    return {task: HonestAnswer(right[task], sure[task], group_of(said[task])) for task in right}


def _confidence(learned: Learned, outputs: Floats, x: Floats) -> Floats:
    """How sure answers are [N], of outputs [N, C]; 0 where they hold no number."""
    if isinstance(learned, CalibratedLabels):
        p = learned.of_logits(outputs)
        sure: Floats = np.maximum(p, 1 - p).min(axis=1) if p.shape[1] else np.zeros(len(p))
    elif learned.form == "single":
        sure = softmax(outputs, temperature=learned.temperature).max(axis=1)
    else:  # of a number it is the same for all
        sure = learned.spread(x)[:, 0]
    return np.nan_to_num(sure, nan=0.0)
