"""Reads and writes the advice of a project's versions."""

from dataclasses import dataclass, replace

from sqlalchemy import Connection

from model.active_learning.advice import Advice
from store.projects.key_values import dataclass_key
from store.versions import advice as stored_advice
from store.versions.advice import StoredAdvice, set_advice


@dataclass(frozen=True)
class DueMeasurement:
    """A version whose advice lacks a new learning curve and comparison of strategies."""

    version_id: int
    attempts: int = 0  # that were begun


MEASUREMENT_DUE = dataclass_key("measurement_due", DueMeasurement)


def save_advice(db: Connection, project_id: int, version_id: int, advice: Advice) -> None:
    """Store the advice of a version, in place of an earlier one."""
    set_advice(db, project_id, version_id, StoredAdvice(advice.at, advice.to_json()))


def newest_advice(db: Connection, project_id: int) -> Advice | None:
    """The advice of the last learning; None before the first."""
    return _advice(stored_advice.newest_advice(db, project_id))


def advice_of_version(db: Connection, version_id: int) -> Advice | None:
    """The advice of one version, if it is kept."""
    return _advice(stored_advice.version_advice(db, version_id))


def advice_on_served(db: Connection, project_id: int, served_id: int | None) -> Advice | None:
    """The advice of the last learning, with the accuracy of the served version.

    The last learning may have made a version that was refused, or that waits for a person. What it
    measured of labels and of choosing holds for the project; its accuracy is its own.
    """
    newest = newest_advice(db, project_id)
    if newest is None:
        return None
    served = advice_of_version(db, served_id) if served_id is not None else None
    if served is None:
        return replace(newest, accuracy=None, open_accuracy=None, picks=())
    return replace(
        newest, accuracy=served.accuracy, open_accuracy=served.open_accuracy, picks=served.picks
    )


def _advice(stored: StoredAdvice | None) -> Advice | None:
    return None if stored is None else Advice.from_json(stored.at, stored.found)
