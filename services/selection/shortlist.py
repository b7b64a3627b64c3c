"""Which tasks are labelled next, and what Label Studio is given for them."""

import time
from collections.abc import Collection, Mapping, Sequence

from model.active_learning.advice import Advice
from model.arrays import Floats
from model.registry import UnknownNameError
from model.selection import AUTO, Pick, cold_start, shortlist
from model.selection.registry import STRATEGIES
from services.job_context import JobContext
from services.selection.pool import Pool, _one_image_each, load_labelled, load_pool
from services.snapshot import Snapshot
from services.suggestions.predictor import Predictor
from store.predictions.shortlists import Choice
from store.settings import Settings
from store.tasks.annotations import AnnotationRecord

SHORTLIST_MOST = 1_000  # tasks, however fast the team is
PACE_SECONDS = 1_800  # over which the team's speed is measured


def strategy_of(settings: Settings) -> tuple[str, str | None]:
    """The strategy that is set, or `auto` and what is wrong with the setting."""
    try:
        STRATEGIES.get(settings.strategy)
    except UnknownNameError as error:
        return AUTO, f"APPRENTICE_STRATEGY: {error}"
    return settings.strategy, None


def shortlist_size(settings: Settings, annotations: Sequence[AnnotationRecord]) -> int:
    """So many tasks as the team labels in `shortlist_minutes` at its measured speed."""
    since = time.time() - PACE_SECONDS
    recent = sum(annotation.updated_at > since for annotation in annotations)
    pace = recent / PACE_SECONDS * settings.shortlist_minutes * 60
    return min(max(settings.shortlist_min, round(pace)), SHORTLIST_MOST)


def choose(
    pool: Pool,
    predictor: Predictor,
    hardest: str | None,
    size: int,
    *,
    seed: int,
    strategy: str = AUTO,
    labelled: Floats | None = None,
    random_share: float = 0.1,
    drawn_before: Mapping[int, float | None] | None = None,
    listed: Collection[int] = (),
) -> list[Choice]:
    """The shortlist in order: by a strategy where there is a head, else the most typical images.

    All controls that are learned count, the `hardest` as the first.

    Args:
        labelled: the embeddings [L, D] of labelled tasks.
        random_share: of the tasks, that is drawn at random.
        drawn_before: {task: probability} of draws that nobody has labelled yet.
        listed: tasks that stay on the list, and which these are to follow.
    """
    if not pool.tasks:
        return []
    pool = _one_image_each(pool, predictor.heads.get(hardest) if hardest else None)
    rows = {task: row for row, task in enumerate(pool.tasks)}
    before = [rows[task] for task in listed if task in rows]
    picks: list[Pick]
    if hardest is None or hardest not in predictor.heads:
        picks = cold_start(pool.x, size, seed=seed, strategy=strategy, listed=before)
    else:
        first = predictor.heads[hardest]
        heads = [first, *(head for head in predictor.heads.values() if head is not first)]

        def ask(x: Floats) -> tuple[Floats, ...]:
            return tuple(head.spread(x) for head in heads)

        picks = shortlist(
            pool.x,
            None,
            size,
            seed=seed,
            random_share=random_share,
            strategy=strategy,
            labelled=labelled,
            ask=ask,
            # Their chance counts how they came into the pool already.
            drawn_before={
                rows[task]: None if p is None else p / pool.share
                for task, p in (drawn_before or {}).items()
                if task in rows
            },
            listed=before,
        )
    return [
        Choice(
            pool.tasks[pick.index],
            pick.strategy,
            None if pick.probability is None else pick.probability * pool.share,
        )
        for pick in picks
    ]


def random_share(settings: Settings, advice: Advice | None) -> float:
    """The share of the shortlist that is drawn at random: all of it where choosing doesn't pay."""
    if advice is not None and advice.choosing is not None and advice.choosing.at_random:
        return 1.0
    return settings.audit_share


def choose_next(
    context: JobContext,
    now: Snapshot,
    predictor: Predictor,
    hardest: str | None,
    shown: Collection[int] = (),
    listed: Collection[int] = (),
    *,
    strategy: str,
    seed: int,
    only_missing: bool = False,
) -> list[Choice]:
    """The tasks to be labelled next, in order.

    Args:
        hardest: the control that counts first.
        shown: tasks that are not chosen, since the prediction that they have stands.
        listed: tasks that stay on the list, and that aren't chosen again.
        only_missing: so many as a whole list lacks, instead of as many as a list has.
    """
    store, settings = context.store, context.store.settings
    with context.step("pool"):
        always = {*now.waiting, *listed}
        pool = load_pool(store, predictor.space, now.open, seed=seed, always=always)
        if shown:
            stay = {*listed}
            pool = pool.part(
                [r for r, task in enumerate(pool.tasks) if task not in shown or task in stay]
            )
    size = shortlist_size(settings, now.annotations)
    if only_missing:
        size = max(size - len(listed), 0)
    labelled = [task for task in now.tasks if task.unit in now.labels]
    with context.step("choose"):
        return choose(
            pool,
            predictor,
            hardest,
            size,
            seed=seed + len(now.annotations),  # random picks differ from one time to the next
            strategy=strategy,
            labelled=load_labelled(store, predictor.space, labelled, seed=seed),
            random_share=random_share(settings, now.advice),
            drawn_before=now.waiting,
            listed=listed,
        )
