"""The state of guests, which processes share through the database."""

from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Connection

from services.guests.specification import GuestSpec
from store.projects.key_values import Key, ProjectKey

STARTING, READY, FAILED = "starting", "ready", "failed"


@dataclass(frozen=True)
class LoadedModel:
    """The model of a guest that answers for a project.

    Attributes:
        key: a hash of what determines its answers: class, version, training, label config.
        version: as the guest names it; None where it doesn't.
    """

    key: str
    version: str | None


@dataclass(frozen=True)
class FittedModel:
    """What the last training of a guest in a project has left.

    Attributes:
        fits: how many trainings have succeeded.
        version: of the model then.
        train_output: what `fit` returned, for models written for 1.0.9.
        labels: a hash of the annotations that it was trained on.
        at: seconds since 1970.
    """

    fits: int
    version: str | None
    train_output: dict[str, Any] | None
    labels: str
    at: float


@dataclass(frozen=True)
class GuestStatus:
    """How a guest does, for people.

    Attributes:
        name: of the guest.
        source: its file and class.
        controls: that it was given; none: those that it answers.
        state: starting, ready or failed.
        style: the interface that it was written for: 1.0.9 or 2.x; None until it is loaded.
        learns: whether it has a method `fit`.
        reason: its last fault in words, and `reason_at` when; None when there was none.
        answered: tasks with a usable answer since the start, and `failed` without one.
        restarts: of its process, after crashes and hangs.
    """

    name: str
    source: str
    controls: tuple[str, ...]
    state: str = STARTING
    style: str | None = None
    learns: bool = False
    reason: str | None = None
    reason_at: float | None = None
    answered: int = 0
    failed: int = 0
    restarts: int = 0

    @classmethod
    def of(cls, spec: GuestSpec) -> "GuestStatus":
        """The status of a guest that is being started."""
        return cls(spec.name, f"{spec.file}:{spec.class_name}", spec.controls)


@dataclass(frozen=True)
class GuestReport:
    """The state of all guests, as their process wrote it last."""

    guests: tuple[GuestStatus, ...] = field(default=())


def _report(stored: Any) -> GuestReport | None:
    try:
        statuses = [
            GuestStatus(**{**each, "controls": tuple(each["controls"])})
            for each in stored["guests"]
        ]
    except (TypeError, KeyError):  # of another version of ours
        return None
    return GuestReport(tuple(statuses))


REPORT: Key[GuestReport] = Key("guests", _report, asdict)

# The event by which a person asked to have a project's guests trained.
ASKED_FOR: ProjectKey[str] = ProjectKey("guest-training")


def loaded_key(guest: str, project_id: int) -> Key[LoadedModel]:
    """The key of the model that answers for a project."""
    return Key(f"guest-loaded:{project_id}:{guest}", lambda stored: LoadedModel(**stored), asdict)


def fitted_key(guest: str, project_id: int) -> Key[FittedModel]:
    """The key of a guest's last training in a project."""
    return Key(f"guest-fitted:{project_id}:{guest}", lambda stored: FittedModel(**stored), asdict)


def loaded_models(
    db: Connection, guests: tuple[GuestSpec, ...], project_id: int
) -> dict[str, LoadedModel]:
    """{guest: its model for the project}, of guests that have one."""
    models = {guest.name: loaded_key(guest.name, project_id).get(db) for guest in guests}
    return {name: model for name, model in models.items() if model is not None}
