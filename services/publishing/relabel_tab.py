"""Shows doubtful labels in a tab of Label Studio's Data Manager.

The open edition's label stream never hands out a task again to someone who annotated it, whatever
its overlap; in a tab, people open the tasks one after another and correct what is wrong.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import structlog

from model.targets.base import GUESSED
from model.targets.kind import kind_of
from services.job_context import JobContext
from store.projects.key_values import dataclass_key
from store.tasks.annotations import annotated_since
from store.versions.label_reviews import Review, get_review
from studio.client import StudioClient
from studio.config import LabelConfig, parse_label_config
from studio.errors import StudioRejected

log = structlog.get_logger()

TITLE = "Apprentice: check these labels"


def worst_labels(
    review: Review, config: LabelConfig, most: int, checked: Collection[int] = ()
) -> list[int]:
    """The tasks (Label Studio's ids) that most need another label; `most` at most, in order.

    None of those that people have `checked` already: what looks wrong may be right.

    By ActiveLab's score of labelled images (Goh, Mueller: ActiveLab: Active learning with
    re-labeling by multiple annotators, 2023, arXiv 2301.11856), with equal weights: the quality of
    what all mean together, drawn towards chance, the more the fewer have said it. A task in several
    controls counts by its worst.
    """
    scores: dict[int, float] = {}
    doubts = [(label.task, label.control, label.quality, 1) for label in review.suspicious]
    for contested in review.contested:
        voters = sum(len(opinion.annotators) for opinion in contested.opinions)
        doubts.append((contested.task, contested.control, contested.quality, voters))
    for task, control, quality, voters in doubts:
        # Of as many weights as there are voters, the model's, and that of an average annotator.
        score = ((voters + 1) * quality + _chance(config, control)) / (voters + 2)
        scores[task] = min(score, scores.get(task, 1.0))
    left = scores.keys() - checked
    return sorted(left, key=lambda task: (scores[task], task))[:most]


def _chance(config: LabelConfig, name: str) -> float:
    """The probability that a guess is right."""
    control = config.control(name)
    return GUESSED if control is None else kind_of(control.schema).chance(control.schema)


@dataclass(frozen=True)
class Offer:
    """The tasks that the tab shows."""

    tab: int | None  # its id in Label Studio
    tasks: list[int]
    checked: list[int]  # annotated again since they were shown, ever
    at: float  # seconds since 1970


OFFER = dataclass_key("relabel", Offer)


def update_relabel_tab(context: JobContext, studio: StudioClient) -> None:
    """Update the tab after a new review."""
    store, project = context.store, context.project
    key, now = OFFER.of(project.id), time.time()
    with store.database.read() as db:
        last = key.get(db) or Offer(None, [], [], now)
        again = annotated_since(db, project.id, last.at).intersection(last.tasks)
        checked = again.union(last.checked)
        most = store.settings.relabel_most
        config = parse_label_config(project.label_config)
        tasks = worst_labels(get_review(db, project.id), config, most, checked) if most else []
    if tasks == last.tasks:
        return
    context.check()
    try:
        tab = _show(studio, project.ls_id, tasks, last.tab)
    except StudioRejected as error:
        log.info("Label Studio takes no tab for labels to check", error=str(error))
        return
    offer = Offer(tab, tasks, sorted(checked), now)
    store.database.write(lambda db: key.set(db, offer))


def _show(studio: StudioClient, project: int, tasks: Sequence[int], tab: int | None) -> int | None:
    if tasks:
        return studio.show_tab(project, TITLE, tasks, tab)
    if tab is not None:
        studio.delete_tab(tab)
    return None
