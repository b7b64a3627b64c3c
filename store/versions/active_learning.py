"""What the last learning found out about choosing: how good, what more labels bring."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from store.database.schema import advice


@dataclass(frozen=True)
class Interval:
    """A number with its 95% interval; `n` images were asked."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Outlook:
    """What more labels would bring, by a curve through models of fewer labels."""

    labels: int  # when it was measured
    more: int  # labels
    gain: Interval  # in accuracy, of `more` labels
    limit: Interval  # accuracy with endless labels of this kind
    at_random: bool  # whether it was measured on random picks alone
    rise: tuple[float, float]  # b and c of accuracy(n) = a − b·n^(−c)


@dataclass(frozen=True)
class Choosing:
    """The loss that choosing saves against drawing at random; `pays` is None while open."""

    gain: Interval
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
    """A random pick that a person labelled, and what a model said that had not seen the label."""

    task: int
    confidence: float
    wrong: bool
    group: str  # what it said


@dataclass(frozen=True)
class Advice:
    """As of `at`, in seconds since 1970, with `labels` labels."""

    at: float
    labels: int
    accuracy: Interval | None  # on all images, from random picks alone
    open_accuracy: Interval | None  # on those that nobody has labelled
    seconds_per_label: float | None  # of the team's work
    outlook: Outlook | None = None
    choosing: Choosing | None = None
    agreement: Sequence[Agreement] = ()  # the newest last
    stable: bool = False  # whether successive versions say the same
    picks: Sequence[AuditedPick] = field(default=(), repr=False)


def save_advice(db: Connection, project_id: int, found: Advice) -> None:
    """Keep it in place of the last one."""
    db.execute(delete(advice).where(advice.c.project_id == project_id))
    plain = asdict(found)
    db.execute(insert(advice).values(project_id=project_id, at=plain.pop("at"), found=plain))


def get_advice(db: Connection, project_id: int) -> Advice | None:
    """The last one."""
    row = db.execute(select(advice).where(advice.c.project_id == project_id)).first()
    if row is None:
        return None
    found: dict[str, Any] = row.found
    outlook, choosing = found["outlook"], found["choosing"]
    return Advice(
        at=row.at,
        labels=found["labels"],
        accuracy=_interval(found["accuracy"]),
        open_accuracy=_interval(found["open_accuracy"]),
        seconds_per_label=found["seconds_per_label"],
        outlook=outlook
        and Outlook(
            **outlook
            | {name: Interval(**outlook[name]) for name in ("gain", "limit")}
            | {"rise": tuple(outlook["rise"])}
        ),
        choosing=choosing and Choosing(**choosing | {"gain": Interval(**choosing["gain"])}),
        agreement=[Agreement(**item) for item in found["agreement"]],
        stable=found["stable"],
        picks=[AuditedPick(**item) for item in found["picks"]],
    )


def _interval(plain: dict[str, Any] | None) -> Interval | None:
    return None if plain is None else Interval(**plain)
