"""Limits our share of Label Studio's time by a token bucket: bursts are free, hours are not.

The bucket holds up to a minute's share. What a push took is drawn from it, and while it is
overdrawn, publishing rests until it has filled up again.
"""

import time
from dataclasses import dataclass

from sqlalchemy import Connection

from store.projects.key_values import dataclass_key

CAPACITY_SECONDS = 60.0  # of the share that can be saved up
LEISURE = 0.5  # of the bucket: what can wait is done only above, so that it delays nothing else


@dataclass(frozen=True)
class Bucket:
    """A project's share of Label Studio's time that is saved up, in seconds; below 0 overdrawn."""

    level: float
    at: float  # when it was computed, in seconds since 1970


BUCKET = dataclass_key("budget", Bucket)


def draw(db: Connection, project_id: int, spent: float, share: float) -> float:
    """Take `spent` seconds of Label Studio's time from the project's bucket.

    Args:
        share: of Label Studio's time that is ours, 0 to 1.

    Returns:
        The time (seconds since 1970) until which publishing has to rest.
    """
    now = time.time()
    key = BUCKET.of(project_id)
    bucket = key.get(db) or Bucket(CAPACITY_SECONDS * share, now)
    filled = bucket.level + share * max(now - bucket.at, 0.0)
    level = min(filled, CAPACITY_SECONDS * share) - spent
    key.set(db, Bucket(level, now))
    return now + max(-level, 0.0) / share


def leisure_at(db: Connection, project_id: int, share: float) -> float:
    """The time (seconds since 1970) from which there is enough for what can wait."""
    bucket = BUCKET.of(project_id).get(db)
    if bucket is None:
        return 0.0
    lacking = LEISURE * CAPACITY_SECONDS * share - bucket.level
    return bucket.at + lacking / share
