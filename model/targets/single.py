"""One of several classes: softmax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from model.arrays import Float32s, Floats
from model.heads import Head
from model.statistics.calibration import softmax
from model.targets.encoding import Form, choosable, value_of
from model.targets.learned import NOTHING, Answer, Offers
from model.targets.schema import TargetSchema, Value


@dataclass(frozen=True)
class CalibratedHead:
    """A head and the temperature that makes its probabilities honest."""

    head: Head
    temperature: float

    form: ClassVar[Form] = "single"

    def probabilities(self, x: Floats) -> Float32s:
        """[N, D] embeddings to [N, C] probabilities, in the order of `head.classes`."""
        return softmax(self.head.logits(x) / np.float32(self.temperature))

    def answers(
        self, x: Floats, target: TargetSchema, *, least: float = 0.5, offers: Offers = None
    ) -> list[Answer]:
        """The most probable class of those that can be chosen.

        What is left of the config counts with its probability among all that was learned. Among
        what a task itself offers, one must be right: those probabilities add up to one.
        """
        p = self.probabilities(x)
        if offers is None:
            keep = np.flatnonzero(choosable(target, self.head.classes))
            if not len(keep):
                return [NOTHING] * len(p)
            best = keep[p[:, keep].argmax(axis=1)]
            top = p[np.arange(len(p)), best]
        else:
            masks = np.stack([choosable(target, self.head.classes, offer) for offer in offers])
            p = np.where(masks, p, 0)
            best = p.argmax(axis=1)
            total = p.sum(axis=1)
            shares = p[np.arange(len(p)), best] / np.maximum(total, np.float32(1e-12))
            top = np.where(masks.any(axis=1), shares, np.nan)
        values = {index: value_of([self.head.classes[index]], target) for index in set(best)}
        return [
            Answer(values[index], float(sure), float(sure)) if np.isfinite(sure) else NOTHING
            for index, sure in zip(best, top, strict=True)
        ]

    def decide(self, outputs: Floats, target: TargetSchema) -> list[Value]:
        """The class of the greatest logit of each row."""
        values = [value_of([name], target) for name in self.head.classes]
        return [values[index] for index in np.asarray(outputs).argmax(axis=1)]

    def spread(self, x: Floats) -> Float32s:
        """The probabilities of the classes."""
        return self.probabilities(x)

    def settings(self) -> dict[str, Any]:
        """The temperature."""
        return {"temperature": self.temperature}
