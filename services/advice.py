"""Reads and writes the advice of a project's last learning."""

from sqlalchemy import Connection

from model.active_learning.advice import Advice
from store.versions.advice import StoredAdvice, get_stored_advice, set_advice


def save_advice(db: Connection, project_id: int, advice: Advice) -> None:
    """Store the advice in place of the last one."""
    set_advice(db, project_id, StoredAdvice(advice.at, advice.to_json()))


def get_advice(db: Connection, project_id: int) -> Advice | None:
    """The advice of the last learning; None before the first."""
    stored = get_stored_advice(db, project_id)
    return None if stored is None else Advice.from_json(stored.at, stored.found)
