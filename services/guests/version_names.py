"""The guests' part of a version's name: a version is our heads and the guests' models."""

import hashlib

from sqlalchemy import Connection

from services.guests.project_guests import project_guests
from services.guests.specification import guest_specs
from store.projects.projects import Project
from store.settings import Settings
from store.versions.versions import Version, change_version


def guests_title(db: Connection, settings: Settings, project: Project) -> str:
    """The names and versions of the project's guests; empty where none serves it."""
    if not settings.guests:
        return ""
    guests = project_guests(db, guest_specs(settings), project)
    return guests.title if guests is not None else ""


def with_guests(digest: str, title: str) -> str:
    """A version's digest of what it is made of, the guests included."""
    return hashlib.sha256(f"{digest} {title}".encode()).hexdigest() if title else digest


def name_guests(db: Connection, settings: Settings, project: Project, version: Version) -> None:
    """Put the guests into the name of a version that was just made."""
    title = guests_title(db, settings, project)
    if title:
        change_version(db, version.id, metrics={**version.metrics, "guests": title})
