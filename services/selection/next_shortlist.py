"""The next shortlist of a project: what is free to be chosen, and what choosing knows of it."""

from collections.abc import Collection

from services.reports.active_learning import random_share
from services.selection.shortlist import choose, load_labelled, load_pool, shortlist_size
from services.snapshot import Snapshot
from services.suggestions.predictor import Predictor
from store.predictions.shortlists import Choice
from worker.jobs.runner import JobContext


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
