"""How a fine-tuning reports its progress and is cancelled."""

from collections.abc import Callable
from dataclasses import dataclass


class Cancelled(Exception):  # noqa: N818 - callers read it as an event
    """`stop` was true. The next call with the same folder resumes the fine-tuning."""


@dataclass(frozen=True)
class Progress:
    """The progress of one phase: "images", "features", "training" or "choosing"."""

    step: int  # of `steps` in this phase
    steps: int
    loss: float | None  # mean of the latest steps; None where there is none
    images_per_second: float
    seconds_left: float | None  # of this phase; None while unknown
    phase: str


@dataclass(frozen=True, eq=False)
class Callbacks:
    """The caller's functions: `report` gets the progress, `stop` says whether to cancel."""

    report: Callable[[Progress], None]
    stop: Callable[[], bool]

    def check(self) -> None:
        """Raise Cancelled if `stop` says so."""
        if self.stop():
            raise Cancelled
