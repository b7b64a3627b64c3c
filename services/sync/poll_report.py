"""What polling a project costs."""

from dataclasses import dataclass

from store.projects.key_values import dataclass_key


@dataclass(frozen=True)
class PollReport:
    """How often a project's Label Studio is asked for its changes, and what that takes."""

    interval: float  # seconds from one time to the next
    share: float  # of Label Studio's time, 0 to 1
    at: float  # seconds since 1970


POLL_REPORT = dataclass_key("poll", PollReport)
