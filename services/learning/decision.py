"""The decision of a learning job, before it is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from model.active_learning.advice import Advice
from services.reports.active_learning import LabelHistory
from services.reports.ledger_summary import Summary
from services.snapshot import Snapshot
from services.training.candidate import Candidate
from store.predictions.publications import PredictionItem
from store.predictions.shortlists import Choice
from store.projects.projects import Project
from store.tasks.units import TaskId
from store.versions.versions import Version


class Move(StrEnum):
    """The outcome of the project's move to another embedding space."""

    NONE = "none"
    FINISH = "finish"
    CANCEL = "cancel"  # the fine-tuned backbone is refused


@dataclass(frozen=True)
class NewVersion:
    """A trained version, published or not: a person may promote it later.

    Attributes:
        candidate: its heads, with the gate's verdict.
        artifact: the digest of its stored heads.
        advice: its accuracy by random picks, and what more labels would bring; None for a version
            on a refused backbone, which says less of the labels.
    """

    candidate: Candidate
    artifact: str
    advice: Advice | None


@dataclass(frozen=True)
class Publish:
    """The publication of the new version with a new shortlist.

    Attributes:
        shortlist: the tasks to be labelled next, in order.
        items: predictions of the shortlist, then of what is left of the last one.
        first: how many of `items` are pushed before the version is shown; the others follow.
        rest_waits: whether the others may wait for a few seconds, since labels come slowly.
        refreshed: predictions in place of clearly worse ones of older versions.
    """

    shortlist: Sequence[Choice]
    items: Sequence[PredictionItem]
    first: int
    rest_waits: bool
    refreshed: Sequence[PredictionItem]


@dataclass(frozen=True)
class Refill:
    """New tasks for the served version's shortlist.

    Without `items` it stays as it is. A prediction that Label Studio holds is never replaced:
    somebody may have the task open.
    """

    version: Version | None  # the served version; None for the start version
    shortlist: Sequence[Choice] = ()
    items: Sequence[PredictionItem] = ()
    open_tasks: int = 0  # that a list before the first label was chosen from


@dataclass(frozen=True)
class LearnDecision:
    """The outcome of a learning job.

    Attributes:
        snapshot: the project as it was read; after its move, where that ends now.
        project: the project before its move.
        move: what becomes of the move.
        reason: why nothing, or not all, can be learned; for people.
        holdout: tasks that join the hold-out for good.
        version: the version that is added, if one was trained.
        push: what goes to Label Studio; None where nothing is to be pushed.
        served_advice: the served version's advice with newly labelled random picks, where a
            candidate was refused.
        ledger: a new summary of the ledger, where it has changed enough.
        history: labels on which learning curve and strategies are measured after the commit; None
            where they were measured lately.
    """

    snapshot: Snapshot
    project: Project
    move: Move = Move.NONE
    reason: str | None = None
    holdout: frozenset[TaskId] = frozenset()
    version: NewVersion | None = None
    push: Publish | Refill | None = None
    served_advice: Advice | None = None
    ledger: Summary | None = None
    history: LabelHistory | None = None
