"""Finds the tasks of a version's shortlists, which Label Studio hands out first."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection

from services.suggestions.queue_order import is_listed, place_after
from store.predictions.publications import scores_of
from store.tasks.units import TaskId


@dataclass(frozen=True)
class QueuedList:
    """Predictions of one version that Label Studio holds, or is about to get.

    They are never replaced, so their tasks keep their places.

    Attributes:
        scores: {task: score} of unlabelled tasks, in the order in which they are handed out.
        predicted: all tasks with a prediction of the version.
    """

    scores: dict[TaskId, float]
    predicted: Collection[TaskId]

    @property
    def next_place(self) -> int:
        """The first place of the shortlist after all of these."""
        return max(map(place_after, self.scores.values()), default=0)


NO_LIST = QueuedList({}, ())


def queued_list(
    db: Connection, project_id: int, version_id: int, annotated: Collection[TaskId]
) -> QueuedList:
    """Read the unlabelled tasks of a version's shortlists, the present one and earlier ones."""
    scores = scores_of(db, project_id, version_id)
    listed = {t: s for t, s in scores.items() if is_listed(s) and t not in annotated}
    in_order = sorted(listed, key=lambda task: (listed[task], task))
    return QueuedList({task: listed[task] for task in in_order}, scores.keys())
