"""A summary of the ledger for the status page, made at each learning."""

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


def summarize(ledger: Ledger) -> Summary:
    """Summarize the ledger for the status page."""
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
    """Summarize anew if `annotations` have changed enough since the last summary; else None."""
    last, count = SUMMARY.of(project.id).get(db), len(annotations)
    if last is not None and abs(count - last.annotations) < GROWTH * count:
        return None
    return summarize(read_ledger(db, project, annotations))


def save_summary(db: Connection, project_id: int, summary: Summary) -> None:
    """Store the summary for the status page, which is made anew every few seconds."""
    SUMMARY.of(project_id).set(db, summary)


def stored_summary(db: Connection, project_id: int) -> Summary | None:
    """The stored summary; None while nothing was ever suggested."""
    stored = SUMMARY.of(project_id).get(db)
    return stored if stored and stored.suggested else None


def suggestions_in_words(summary: Summary) -> str:
    """The summary in a sentence for people."""
    fates = {"kept": summary.kept, "edited": summary.edited, "rejected": summary.rejected}
    parts = [f"{count / summary.suggested:.0%} {name}" for name, count in fates.items()]
    text = f"{', '.join(parts)} of {summary.suggested}"
    if summary.saved is not None:
        others = "the control group" if summary.against == "blind" else "tasks without, a hint only"
        by, way = f"{abs(summary.saved):.1f}", "faster" if summary.saved > 0 else "slower"
        text += f"; as fast as {others}" if by == "0.0" else f"; {by} s {way} than {others}"
        text += f" ({summary.low:+z.1f} to {summary.high:+z.1f} s saved)"
    if summary.slow:
        text += f"; they slow people down at {', '.join(summary.slow)}"
    return text
