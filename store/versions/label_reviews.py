"""Label reviews: the quality of each annotator's labels, and the labels to check."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from store.database.schema import review
from store.tasks.annotations import annotated_since
from store.tasks.tasks import task_ids
from store.tasks.units import TaskId

Plain = str | float | list[str]  # a label: a class, a number, or classes


@dataclass(frozen=True)
class Rating:
    """One annotator's labels for one control. Shares are 0 to 1; None where unknown."""

    control: str
    annotator: int | None  # Label Studio's user id; None for all whose it doesn't say
    labels: int  # tasks labelled
    shared: int  # of them, those that others have labelled too
    agreement: float | None  # of `shared`: labelled as what all together most likely mean
    expected: float | None  # labelled as what a model expects that has not seen the image
    quality: float | None  # CROWDLAB's, of both: to compare annotators by


@dataclass(frozen=True)
class SuspiciousLabel:
    """A label that one annotator gave and that is probably wrong."""

    control: str
    task: TaskId
    given: Plain
    quality: float  # probability that it is right; of several classes, that of the least likely
    likely: Plain  # what a model expects that has not seen the image
    annotator: int | None
    item: int = 0  # which of the task's images, from 0; below: all of them together


@dataclass(frozen=True)
class Opinion:
    """A label, and which annotators gave it."""

    label: Plain
    annotators: Sequence[int | None]


@dataclass(frozen=True)
class ContestedLabel:
    """A task that annotators disagree on, with no ground truth."""

    control: str
    task: TaskId
    opinions: Sequence[Opinion]
    likely: Plain  # what they most likely mean together
    quality: float  # probability that it is right; of numbers, the share of those who agree
    item: int = 0  # which of the task's images, from 0; below: all of them together


@dataclass(frozen=True)
class Review:
    """The review of a project's labels. Each list has the worst first."""

    at: float | None  # when the labels were read, seconds since 1970; None when they never were
    annotators: Sequence[Rating]
    suspicious: Sequence[SuspiciousLabel]
    contested: Sequence[ContestedLabel]


def save_review(db: Connection, project_id: int, found: Review) -> None:
    """Store the review in place of the last one."""
    db.execute(delete(review).where(review.c.project_id == project_id))
    plain: dict[str, Any] = asdict(found)
    at = plain.pop("at")
    db.execute(insert(review).values(project_id=project_id, at=at, found=plain))


def get_review(db: Connection, project_id: int) -> Review:
    """The last review, without tasks that were deleted or labelled again since."""
    row = db.execute(select(review).where(review.c.project_id == project_id)).first()
    if row is None:
        return Review(None, (), (), ())
    current = task_ids(db, project_id) - annotated_since(db, project_id, row.at)
    suspicious = [item for item in row.found["suspicious"] if item["task"] in current]
    contested = [item for item in row.found["contested"] if item["task"] in current]
    return Review(
        at=row.at,
        annotators=[Rating(**item) for item in row.found["annotators"]],
        suspicious=[SuspiciousLabel(**item) for item in suspicious],
        contested=[_contested(item) for item in contested],
    )


def _contested(item: dict[str, Any]) -> ContestedLabel:
    opinions = [Opinion(**opinion) for opinion in item["opinions"]]
    return ContestedLabel(**item | {"opinions": opinions})
