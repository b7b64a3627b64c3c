"""A check of `apprentice doctor`, and its level."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """The severity of a check's result."""

    OK = "ok"
    WARNING = "warning"  # works, but not as well as it could, or can't be known
    BROKEN = "broken"


@dataclass(frozen=True)
class Check:
    """The result of a check."""

    name: str
    level: Level
    message: str
    advice: str = ""  # what to do; empty when all is well


def ok(name: str, message: str) -> Check:
    """A check that passed."""
    return Check(name, Level.OK, message)


def warning(name: str, message: str, advice: str = "") -> Check:
    """A check that found a weakness."""
    return Check(name, Level.WARNING, message, advice)


def broken(name: str, message: str, advice: str) -> Check:
    """A check that failed."""
    return Check(name, Level.BROKEN, message, advice)
