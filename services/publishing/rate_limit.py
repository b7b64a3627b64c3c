"""Limits our share of Label Studio's time by a token bucket: bursts are free, hours are not.

The bucket holds up to a minute's share. What a push took is drawn from it, and while it is
overdrawn, publishing rests until it has filled up again.
"""

import time
from dataclasses import dataclass

from sqlalchemy import Connection

from store.projects.key_values import dataclass_key

CAPACITY_SECONDS = 60.0  # of the share that can be saved up
LOW_PRIORITY_LEVEL = 0.5  # of the bucket: low-priority pushes leave that much for the others
POLLING_MOST = 0.4  # of what fills the bucket


@dataclass(frozen=True)
class Bucket:
    """The token bucket of a project: seconds of Label Studio's time; below 0 overdrawn."""

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
    bucket = key.lock(db) or Bucket(CAPACITY_SECONDS * share, now)
    filled = bucket.level + share * max(now - bucket.at, 0.0)
    level = min(filled, CAPACITY_SECONDS * share) - spent
    key.set(db, Bucket(level, now))
    return now + max(-level, 0.0) / share


def draw_polling(db: Connection, project_id: int, spent: float, share: float) -> None:
    """Take what looking for changes has spent: publishing pays for it with up to its POLLING_MOST.

    On a busy machine looks take long by the clock; what they leave is enough to publish.
    """
    bucket = BUCKET.of(project_id).get(db)
    elapsed = time.time() - bucket.at if bucket else CAPACITY_SECONDS
    draw(db, project_id, min(spent, POLLING_MOST * share * max(elapsed, 0.0)), share)


def has_half_its_time(db: Connection, project_id: int, share: float) -> bool:
    """Whether the project's bucket is at least half full now."""
    return low_priority_time(db, project_id, share) <= time.time()


def low_priority_time(db: Connection, project_id: int, share: float) -> float:
    """The time (seconds since 1970) from which low-priority publications may be pushed."""
    bucket = BUCKET.of(project_id).get(db)
    if bucket is None:
        return 0.0
    lacking = LOW_PRIORITY_LEVEL * CAPACITY_SECONDS * share - bucket.level
    return bucket.at + lacking / share
