"""A project's mode of connection, and what it costs."""

import time
from dataclasses import dataclass

from sqlalchemy import Connection

from services.connections.reach import read_connectivity
from services.sync.poll_report import POLL_REPORT

FRESH_SECONDS = 120.0  # a report that is older says nothing of now


@dataclass(frozen=True)
class ConnectivityStatus:
    """Who calls whom. Reasons are null where Label Studio reaches us."""

    mode: str  # inbound, webhook only, backend only, outbound
    sentence: str
    backend: str | None
    webhook: str | None
    poll_seconds: float | None  # between two looks for changes; null where none is needed
    poll_share: float | None  # of Label Studio's time, 0 to 1

    @property
    def in_words(self) -> str:
        """The mode, its reasons and its cost, in one line."""
        if self.poll_seconds is None or self.poll_share is None:
            return self.sentence
        return (
            f"{self.sentence}. It looks every {self.poll_seconds:.1f} s, which takes "
            f"{self.poll_share:.1%} of Label Studio's time"
        )


def connectivity_status(db: Connection, project_id: int) -> ConnectivityStatus | None:
    """The project's mode; None before the first check."""
    found = read_connectivity(db, project_id, time.time())
    if found is None:
        return None
    report = POLL_REPORT.of(project_id).get(db) if found.mode.polls else None
    if report is not None and time.time() - report.at > FRESH_SECONDS:
        report = None
    return ConnectivityStatus(
        mode=found.mode.value,
        sentence=found.sentence,
        backend=found.backend,
        webhook=found.webhook,
        poll_seconds=report.interval if report else None,
        poll_share=report.share if report else None,
    )
