"""The ledger in a line, for the status page: kept at each learning."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from services.reports.ledger import Ledger, read_ledger
from store.projects.key_values import dataclass_key
from store.projects.projects import Project
from store.tasks.annotations import AnnotationRecord

GROWTH = 0.01  # of the annotations: so many new ones make a new summary


@dataclass(frozen=True)
class Summary:
    """The ledger in a line, as of the last learning. Seconds are of a typical annotation."""

    annotations: int
    suggested: int
    kept: int
    edited: int
    rejected: int
    saved: float | None
    low: float | None
    high: float | None
    against: str | None  # as in Pace
    slow: Sequence[str]  # classes where suggestions slow people down


SUMMARY = dataclass_key("ledger", Summary)


def summary(ledger: Ledger) -> Summary:
    """What the status page says of it."""
    total, pace = ledger.total, ledger.total.pace
    return Summary(
        annotations=ledger.annotations,
        suggested=total.suggested,
        kept=total.kept,
        edited=total.edited,
        rejected=total.rejected,
        saved=pace.saved.value if pace else None,
        low=pace.saved.low if pace else None,
        high=pace.saved.high if pace else None,
        against=pace.against if pace else None,
        slow=[f"{one.control}: {one.name}" for one in ledger.slow],
    )


def new_summary(
    db: Connection, project: Project, annotations: Sequence[AnnotationRecord]
) -> Summary | None:
    """The summary of today, if `annotations` have changed enough since the last; else None."""
    known, count = SUMMARY.of(project.id).get(db), len(annotations)
    if known is not None and abs(count - known.annotations) < GROWTH * count:
        return None
    return summary(read_ledger(db, project, annotations))


def keep_summary(db: Connection, project_id: int, kept: Summary) -> None:
    """Keep it for the status page, which is made anew every few seconds."""
    SUMMARY.of(project_id).set(db, kept)


def kept_summary(db: Connection, project_id: int) -> Summary | None:
    """The one that was kept; None while nothing was ever suggested."""
    found = SUMMARY.of(project_id).get(db)
    return found if found and found.suggested else None


def suggestions_in_words(found: Summary) -> str:
    """The summary in a sentence for people."""
    fates = {"kept": found.kept, "edited": found.edited, "rejected": found.rejected}
    parts = [f"{count / found.suggested:.0%} {name}" for name, count in fates.items()]
    text = f"{', '.join(parts)} of {found.suggested}"
    if found.saved is not None:
        others = "blind tasks" if found.against == "blind" else "tasks without, a hint only"
        by, way = f"{abs(found.saved):.1f}", "faster" if found.saved > 0 else "slower"
        text += f"; as fast as {others}" if by == "0.0" else f"; {by} s {way} than {others}"
        text += f" ({found.low:+z.1f} to {found.high:+z.1f} s saved)"
    if found.slow:
        text += f"; they slow people down at {', '.join(found.slow)}"
    return text
