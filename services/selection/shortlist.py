"""Chooses the tasks that are labelled next."""

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from model.active_learning.advice import Advice
from model.registry import UnknownNameError
from model.selection import AUTO, ShortlistRequest, cold_start, shortlist
from model.selection.registry import STRATEGIES
from services.job_context import JobContext
from services.selection.pool import TaskPool, task_pool
from services.snapshot import Snapshot
from services.suggestions.predictor import Predictor
from store.predictions.shortlists import Choice
from store.settings import Settings
from store.tasks.annotations import AnnotationRecord
from store.tasks.units import TaskId

SHORTLIST_MOST = 1_000  # tasks, however fast the team is
PACE_SECONDS = 1_800  # over which the team's speed is measured
PACE_NOW_SECONDS = 8  # over which its speed just now is measured
AT_WORK_SECONDS = 600  # from an annotator's last annotation


def strategy_of(settings: Settings) -> tuple[str, str | None]:
    """The strategy of the settings; `auto` and an error message where there is no such strategy."""
    try:
        STRATEGIES.get(settings.strategy)
    except UnknownNameError as error:
        return AUTO, f"APPRENTICE_STRATEGY: {error}"
    return settings.strategy, None


def shortlist_size(settings: Settings, annotations: Sequence[AnnotationRecord]) -> int:
    """The number of tasks that the team labels in `shortlist_minutes` at its measured speed."""
    since = time.time() - PACE_SECONDS
    recent = sum(annotation.updated_at > since for annotation in annotations)
    pace = recent / PACE_SECONDS * settings.shortlist_minutes * 60
    return min(max(settings.shortlist_min, round(pace)), SHORTLIST_MOST)


def annotators_at_work(annotations: Sequence[AnnotationRecord]) -> int:
    """The number of people who have annotated within the last ten minutes; at least 1."""
    since = time.time() - AT_WORK_SECONDS
    people = {each.completed_by for each in annotations if each.updated_at > since}
    return max(len(people), 1)


def most_labels(received: Iterable[float], seconds: float) -> float:
    """About the most labels that come within `seconds`: at the last minute's rate, or the latest.

    `received` are seconds since 1970. Who has just begun to label may be as fast as any other.
    """
    now = time.time()
    ages = [now - moment for moment in received]
    latest = sum(age < seconds for age in ages)
    rate = sum(age < PACE_NOW_SECONDS for age in ages) / PACE_NOW_SECONDS
    return max(rate * seconds, latest)


def choose(pool: TaskPool, request: ShortlistRequest) -> list[Choice]:
    """Choose a shortlist of tasks, in order: by a strategy, or the most typical images first.

    The request names images by their tasks.
    """
    if not pool.tasks:
        return []
    choosing = shortlist if pool.images.predict is not None else cold_start
    return [
        Choice(
            pool.tasks[pick.index],
            pick.strategy,
            None if pick.probability is None else pick.probability * pool.share,
        )
        for pick in choosing(pool.images, pool.in_rows(request))
    ]


def random_share(settings: Settings, advice: Advice | None) -> float:
    """The share of the shortlist that is drawn at random: all of it where choosing doesn't pay."""
    if advice is not None and advice.choosing is not None and advice.choosing.at_random:
        return 1.0
    return settings.audit_share


@dataclass(frozen=True)
class OpenList:
    """The part of the served version's shortlist that is still open.

    Attributes:
        listed: tasks that stay on the list; they aren't chosen again.
        shown: tasks that can't be chosen, since Label Studio holds a prediction of theirs.
        only_missing: choose as many tasks as the list lacks, not as many as a whole one has.
    """

    listed: Sequence[TaskId] = ()
    shown: Collection[TaskId] = ()
    only_missing: bool = False


NEW_LIST = OpenList()


def choose_next(
    context: JobContext,
    snapshot: Snapshot,
    predictor: Predictor,
    hardest: str | None,
    before: OpenList = NEW_LIST,
    *,
    seed: int,
) -> list[Choice]:
    """Choose the tasks that are labelled next, in order.

    Args:
        hardest: the control whose predictions count first.
        before: the list that these tasks are added to.
        seed: of all random choices.
    """
    settings = context.store.settings
    strategy, _ = strategy_of(settings)
    size = shortlist_size(settings, snapshot.annotations)
    if before.only_missing:
        size = max(size - len(before.listed), 0)
    with context.step("pool"):
        pool = task_pool(
            context.store,
            snapshot,
            predictor,
            hardest,
            seed=seed,
            shown=before.shown,
            listed=before.listed,
        )
    request = ShortlistRequest(
        size,
        strategy,
        random_share(settings, snapshot.advice),
        drawn_before=dict(snapshot.waiting.items()),
        listed=before.listed,
    )
    with context.step("choose"):
        return choose(pool, request)
