"""How guest models do, as pages, the API and commands show it."""

from dataclasses import dataclass

from sqlalchemy import Connection

from services.guests.state import FAILED, REPORT, STARTING, GuestStatus, fitted_key, loaded_key
from store.projects.projects import Project
from studio.config import control_names


@dataclass(frozen=True)
class ProjectGuest:
    """A guest that serves a project."""

    name: str
    controls: tuple[str, ...]  # that it was given; none: those that it answers
    version: str | None  # of its model there; None while that isn't loaded
    trained_at: float | None  # seconds since 1970


def guest_statuses(db: Connection) -> tuple[GuestStatus, ...]:
    """The guests, as their process reported last."""
    report = REPORT.get(db)
    return report.guests if report else ()


def project_guests(db: Connection, project: Project) -> tuple[ProjectGuest, ...]:
    """The guests that serve the project."""
    names = control_names(project.label_config)
    guests = []
    for guest in guest_statuses(db):
        if not names or (guest.controls and names.isdisjoint(guest.controls)):
            continue
        loaded = loaded_key(guest.name, project.id).get(db)
        fitted = fitted_key(guest.name, project.id).get(db)
        trained = fitted.at if fitted and fitted.fits else None
        version = loaded.version if loaded else None
        guests.append(ProjectGuest(guest.name, guest.controls, version, trained))
    return tuple(guests)


def guest_in_words(guest: GuestStatus) -> str:
    """One line: what the guest is doing, and its last fault."""
    state = {STARTING: "is being loaded", FAILED: "is stopped, and started again soon"}
    words = state.get(guest.state) or f"answers, in the manner of label-studio-ml {guest.style}"
    counts = f"{guest.answered} tasks answered" if guest.answered else ""
    if guest.failed:
        counts += (", " if counts else "") + f"{guest.failed} not"
    if guest.restarts:
        counts += (", " if counts else "") + f"started again {guest.restarts} times"
    line = f"{words} ({counts})" if counts else words
    return f"{line}; last fault: {guest.reason}" if guest.reason else line
