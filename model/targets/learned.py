"""What a fitted head says about an image, as a label that can be suggested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from model.arrays import Float32s, Floats
from model.heads import Head
from model.targets.encoding import Form
from model.targets.schema import ClassName, TargetSchema, Value

# For each row, the classes that come with its task's data; None where they don't.
Offers: TypeAlias = Sequence[frozenset[ClassName] | None] | None


@dataclass(frozen=True)
class Answer:
    """A label for one image. `value` is None where no class can be chosen at all."""

    value: Value | None
    score: float  # of what is suggested, calibrated, 0 to 1
    confidence: float  # how sure the whole answer is, 0 to 1: by it images are put in order
    interval: tuple[float, float] | None = None  # of a number: where 9 of 10 truths are


NOTHING = Answer(None, 0.0, 0.0)


class Learned(Protocol):
    """A head, with what makes labels of its outputs. It needs numpy alone."""

    @property
    def form(self) -> Form:
        """How the target was learned."""

    @property
    def head(self) -> Head:
        """From embeddings to outputs [N, C], C the number of its classes, 1 for a number."""

    @property
    def temperature(self) -> float:
        """What logits are divided by; 1 for a number."""

    def answers(
        self, x: Floats, target: TargetSchema, *, least: float = 0.5, offers: Offers = None
    ) -> list[Answer]:
        """Answers for embeddings [N, D], of what `target` still has.

        Of several classes, those with a probability of at least `least` and of one half.
        """

    def decide(self, outputs: Floats, target: TargetSchema) -> list[Value]:
        """The labels that outputs [N, C] of the head stand for, sure or not."""

    def spread(self, x: Floats) -> Float32s:
        """[N, K] a distribution a row, the flatter the less sure: what choosing looks at."""

    def settings(self) -> dict[str, Any]:
        """What `load` needs beside the head, as JSON."""
