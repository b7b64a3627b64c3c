"""Whether Label Studio reaches a project's backend and webhook, and the mode that follows.

Where no webhook arrives, changes are found by polling. A webhook counts as working only when an
event that we caused has arrived: Label Studio drops events silently.
"""

import time
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection

from store.projects.key_values import ProjectKey, dataclass_key

ARRIVAL_SECONDS = 3.0  # after which a test event counts as lost
NOT_ARRIVED = "a test event did not arrive here"
FIRST_RECHECK_SECONDS = 15.0  # a server that has just started may answer too late
LAST_RECHECK_SECONDS = 3_600.0
SETTLED = 5  # rechecks, each after twice the wait: the count of a refusal that is there to stay


class Mode(StrEnum):
    """Who calls whom. Suggestions and their order are pushed by us in every mode."""

    INBOUND = "inbound"  # Label Studio calls backend and webhook
    WEBHOOK = "webhook only"  # it tells changes, and asks for no predictions
    BACKEND = "backend only"  # it asks for predictions; changes are polled
    OUTBOUND = "outbound"  # it calls nothing; changes are polled

    @property
    def polls(self) -> bool:
        """Whether changes are found by polling."""
        return self in (Mode.BACKEND, Mode.OUTBOUND)


@dataclass(frozen=True)
class Reach:
    """The result of the last check. Reasons are for people, None where it works or may work."""

    backend: str | None = None  # why Label Studio doesn't reach the backend
    webhook: str | None = None  # why there is no webhook
    probe_at: float = 0.0  # when the last test event was caused, in seconds since 1970; 0: never
    probe_heard: int = 0  # events that had arrived before it
    checked_at: float = 0.0  # in seconds since 1970
    rechecks: int = 0  # since one was asked for


@dataclass(frozen=True)
class Heard:
    """The PROJECT_UPDATED events that have arrived."""

    count: int
    at: float  # the last one, in seconds since 1970


REACH = dataclass_key("reach", Reach)
HEARD = dataclass_key("heard", Heard)
# Set when the registration is to be checked again by the next sync, in seconds since 1970.
RECHECK: ProjectKey[float] = ProjectKey("recheck")


@dataclass(frozen=True)
class Connectivity:
    """A project's reach as it is now. Reasons are None where it works."""

    backend: str | None
    webhook: str | None
    is_proven: bool = False  # a test event has arrived

    @property
    def mode(self) -> Mode:
        """The mode that follows."""
        if self.backend is None:
            return Mode.INBOUND if self.webhook is None else Mode.BACKEND
        return Mode.WEBHOOK if self.webhook is None else Mode.OUTBOUND

    @property
    def sentence(self) -> str:
        """The mode, its reasons and what it means, in one line."""
        match self.mode:
            case Mode.INBOUND:
                return "Label Studio reaches Apprentice: it tells changes at once"
            case Mode.WEBHOOK:
                return (
                    f"webhook mode: changes are told at once, suggestions are pushed but not "
                    f"computed on request ({self.backend})"
                )
            case Mode.BACKEND:
                return f"Apprentice looks for changes itself, as no webhook arrives: {self.webhook}"
        reasons = list(dict.fromkeys(filter(None, (self.backend, self.webhook))))
        return (
            "outbound mode: Apprentice looks for changes itself and pushes suggestions, as Label "
            f"Studio does not reach it: {'; '.join(reasons)}"
        )


def read_connectivity(db: Connection, project_id: int, now: float) -> Connectivity | None:
    """The project's connectivity; None before the first check."""
    reach = REACH.of(project_id).get(db)
    if reach is None:
        return None
    return connectivity(reach, HEARD.of(project_id).get(db), now)


def connectivity(reach: Reach, heard: Heard | None, now: float) -> Connectivity:
    """What a check and the events that have arrived say at the time `now`."""
    arrived = bool(reach.probe_at) and heard is not None and heard.count > reach.probe_heard
    webhook = reach.webhook
    if webhook is None and not arrived and reach.probe_at and not _may_arrive(reach, now):
        webhook = NOT_ARRIVED
    return Connectivity(reach.backend, webhook, arrived and webhook is None)


def recheck_is_due(reach: Reach, found: Connectivity, now: float) -> bool:
    """Whether to check again: a lost test event at once, else after a wait that grows."""
    if found.mode is Mode.INBOUND:
        return False
    if reach.webhook is None and found.webhook is not None:
        return True
    wait = min(FIRST_RECHECK_SECONDS * 2.0**reach.rechecks, LAST_RECHECK_SECONDS)
    return now - reach.checked_at >= wait


def note_arrival(db: Connection, project_id: int) -> None:
    """Count an event: the webhook works."""
    key = HEARD.of(project_id)
    before = key.get(db)
    key.set(db, Heard(before.count + 1 if before else 1, time.time()))


def _may_arrive(reach: Reach, now: float) -> bool:
    return 0 <= now - reach.probe_at < ARRIVAL_SECONDS
