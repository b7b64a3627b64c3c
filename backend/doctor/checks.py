"""What the doctor finds, one line each."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"  # works, but not as well as it could, or can't be known
    BROKEN = "broken"


@dataclass(frozen=True)
class Check:
    """One line of the doctor's."""

    name: str
    level: Level
    message: str
    advice: str = ""  # what to do; empty when all is well


def ok(name: str, message: str) -> Check:
    """All is well."""
    return Check(name, Level.OK, message)


def warning(name: str, message: str, advice: str = "") -> Check:
    """It works, but."""
    return Check(name, Level.WARNING, message, advice)


def broken(name: str, message: str, advice: str) -> Check:
    """It doesn't work."""
    return Check(name, Level.BROKEN, message, advice)
