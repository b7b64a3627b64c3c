"""Advice on active learning: accuracy of suggestions, and the gain of more labels."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from model.statistics.intervals import Estimate


@dataclass(frozen=True)
class Outlook:
    """The gain of more labels, extrapolated from models of fewer labels."""

    labels: int  # when it was measured
    more: int  # labels
    gain: Estimate  # in accuracy, of `more` labels
    limit: Estimate  # accuracy with endless labels of this kind
    at_random: bool  # whether it was measured on random picks alone
    rise: tuple[float, float]  # b and c of accuracy(n) = a − b·n^(−c)


@dataclass(frozen=True)
class Choosing:
    """The loss that choosing saves against drawing at random; `pays` is None while open."""

    gain: Estimate
    labels: int  # that each way was taught
    pays: bool | None
    at_random: bool  # whether tasks are drawn at random therefore


@dataclass(frozen=True)
class Agreement:
    """Cohen's κ of a version with the one before it."""

    labels: int
    kappa: float


@dataclass(frozen=True)
class AuditedPick:
    """A random pick with a person's label, and an answer of a model that had not seen it."""

    task: int
    confidence: float
    wrong: bool
    group: str  # what it said


@dataclass(frozen=True)
class Advice:
    """Advice as of `at`, in seconds since 1970, with `labels` labels."""

    at: float
    labels: int
    accuracy: Estimate | None  # on all images, from random picks alone
    open_accuracy: Estimate | None  # on those that nobody has labelled
    seconds_per_label: float | None  # of the team's work
    outlook: Outlook | None = None
    choosing: Choosing | None = None
    agreement: Sequence[Agreement] = ()  # the newest last
    stable: bool = False  # whether successive versions say the same
    picks: Sequence[AuditedPick] = field(default=(), repr=False)

    def to_json(self) -> dict[str, Any]:
        """All but `at` as plain JSON."""
        plain = asdict(self)
        del plain["at"]
        return plain

    @classmethod
    def from_json(cls, at: float, found: Mapping[str, Any]) -> "Advice":
        """The inverse of `to_json`."""
        outlook, choosing = found["outlook"], found["choosing"]
        return cls(
            at=at,
            labels=found["labels"],
            accuracy=_estimate(found["accuracy"]),
            open_accuracy=_estimate(found["open_accuracy"]),
            seconds_per_label=found["seconds_per_label"],
            outlook=outlook
            and Outlook(
                **outlook
                | {name: Estimate(**outlook[name]) for name in ("gain", "limit")}
                | {"rise": tuple(outlook["rise"])}
            ),
            choosing=choosing and Choosing(**choosing | {"gain": Estimate(**choosing["gain"])}),
            agreement=[Agreement(**item) for item in found["agreement"]],
            stable=found["stable"],
            picks=[AuditedPick(**item) for item in found["picks"]],
        )


def _estimate(plain: dict[str, Any] | None) -> Estimate | None:
    return None if plain is None else Estimate(**plain)
