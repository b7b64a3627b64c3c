"""The protocol of calibrated heads, and their answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from model.arrays import Float32s, Floats, Indices
from model.heads import Head
from model.targets.schema import ClassName, Value

# For each row, the classes that come with its task's data; None where they don't.
Offers: TypeAlias = Sequence[frozenset[ClassName] | None] | None

# What an exported model applies to a head's outputs.
Activation: TypeAlias = Literal["softmax", "sigmoid", "identity"]


class Answer(NamedTuple):
    """A label for one image. `value` is None where no class can be chosen at all."""

    value: Value | None
    score: float  # of what is suggested, calibrated, 0 to 1
    confidence: float  # how sure the whole answer is, 0 to 1: by it images are put in order
    interval: tuple[float, float] | None = None  # of a number: where 9 of 10 truths are


NOTHING = Answer(None, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Output:
    """The function that an exported model applies to a head's outputs.

    `above` are pairs of outputs, in order: the second is raised to the first where it is less.
    """

    activation: Activation
    kept: Indices  # the outputs that are exported, in order
    above: Sequence[tuple[int, int]] = ()


class Learned(Protocol):
    """A calibrated head that turns its outputs into labels, with numpy alone.

    A `target` is the schema as it is today, of a kind that the head can answer for (`fits`).
    """

    @property
    def kind(self) -> str:
        """The kind that learned it, as `EncodedLabels.kind`."""

    @property
    def head(self) -> Head:
        """From embeddings to outputs [N, C], C the number of its classes, 1 for a number."""

    @property
    def temperature(self) -> float:
        """The divisor of logits; 1 where outputs are no logits."""

    @property
    def tolerance(self) -> float:
        """The greatest error that counts as right; 0 for classes."""

    def answers(
        self, x: Floats, target: Any, *, least: float = 0.5, offers: Offers = None
    ) -> list[Answer]:
        """Answers for embeddings [N, D], of what `target` still has.

        Of several classes, those with a probability of at least `least` and of one half.
        """

    def decide(self, outputs: Floats, target: Any) -> list[Value]:
        """The labels that outputs [N, C] of the head stand for, sure or not."""

    def confidence(self, outputs: Floats) -> Floats:
        """The confidence [N], 0 to 1, of the labels of outputs [N, C]; NaN for outputs of NaN."""

    def spread(self, x: Floats) -> Float32s:
        """[N, K] a distribution a row, the flatter the less sure: what choosing looks at."""

    def output(self, target: Any) -> Output:
        """The function that an exported model applies to the head's outputs."""

    def settings(self) -> dict[str, Any]:
        """As JSON the kind, stored as "form", and what its `load` needs beside the head."""
