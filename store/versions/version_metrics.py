"""The metrics of a version, as they are stored.

Every field may be missing: the versions of an older Apprentice lack what came later.
"""

from typing import Any, TypedDict


class EstimateJson(TypedDict):
    """A number with its 95% interval, from `n` answers."""

    value: float
    low: float
    high: float
    n: int


class ControlMetrics(TypedDict, total=False):
    """The metrics of one control's head; a kind of target may add its own."""

    accuracy: EstimateJson
    form: str  # single, multi, number
    classes: list[Any]
    head: str  # its kind
    selection: dict[str, Any] | None  # how its kind was chosen
    measures: dict[str, Any]


class VersionMetrics(TypedDict, total=False):
    """The metrics of a version, and how they were measured."""

    accuracy: EstimateJson  # of the control that is known least
    evaluation: str  # hold-out, out of fold
    controls: dict[str, ControlMetrics]  # by name
    untrained: dict[str, str]  # {control: why it has no head}
    notes: list[str]  # for people, on the labels
    finetune: dict[str, Any]  # how its backbone was tuned
    guests: str  # the guest models that suggest beside it, and their versions
    pool: int  # embedded images when an order was chosen, before the first label
