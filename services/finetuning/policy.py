"""Decides when a backbone is fine-tuned without a person's request."""

from dataclasses import dataclass
from importlib.util import find_spec

import structlog
from sqlalchemy import Connection

from store.projects.embedding_spaces import base_backbone
from store.projects.key_values import dataclass_key
from store.projects.projects import Project, get_project
from store.settings import Settings
from store.work.pending_work import get_work, want
from store.work.work_kind import WorkKind

log = structlog.get_logger()

LEAST_LABELS = 100  # below, frozen features are mostly as good
LEAST_ASKED = 50  # labels from which Start Training fine-tunes too
GROWTH = 1.5  # times the labels of the last attempt: less is more of the same
MOST_NOT_EMBEDDED = 0.1  # of the labelled images, that are still to be embedded
GOOD_ENOUGH = 0.97  # accuracy of the heads on frozen features that leaves too little to gain


@dataclass(frozen=True)
class Attempt:
    """The last fine-tuning of a project, with its outcome."""

    labels: int
    backbone: str  # that it began from
    outcome: str  # in words


ATTEMPT = dataclass_key("finetune", Attempt)


def save_attempt(db: Connection, project_id: int, attempt: Attempt) -> None:
    """Store an attempt, so that the next one waits for more labels."""
    ATTEMPT.of(project_id).set(db, attempt)


def last_attempt(db: Connection, project_id: int) -> Attempt | None:
    """The last attempt; None before the first."""
    return ATTEMPT.of(project_id).get(db)


def may_pay(labels: int, accuracy: float, backbone: str, last: Attempt | None) -> bool:
    """Whether fine-tuning on `labels` may beat heads of this `accuracy` (0 to 1).

    There have to be enough labels, something has to be left to gain, and since the last attempt
    on the same backbone the labels must have grown by half.
    """
    if labels < LEAST_LABELS or accuracy >= GOOD_ENOUGH:
        return False
    return last is None or last.backbone != backbone or labels >= GROWTH * last.labels


def is_possible(db: Connection, project: Project) -> bool:
    """Whether a fine-tuning could begin: none is requested, no move runs, torch is installed.

    A version that a person holds on to is not to be replaced: then there is no use either.
    """
    if project.held_at is not None or project.next_backbone is not None:
        return False
    wanted = get_work(db, project.id, WorkKind.FINETUNE)
    if wanted is not None and wanted.wanted > wanted.done:
        return False
    return find_spec("torch") is not None and base_backbone(project) is not None


def request_finetuning_if_it_may_pay(
    db: Connection,
    settings: Settings,
    project_id: int,
    labels: int,
    accuracy: float,
    not_embedded: int,
) -> None:
    """Request fine-tuning after heads of this accuracy were fitted, if it may pay.

    Not while many of the labelled images are `not_embedded`: it would learn from the few others.
    """
    project = get_project(db, project_id)
    assert project is not None, "projects are never forgotten"
    if settings.finetune != "auto" or not is_possible(db, project):
        return
    if not_embedded > MOST_NOT_EMBEDDED * labels:
        return
    last, backbone = last_attempt(db, project_id), base_backbone(project) or ""
    if may_pay(labels, accuracy, backbone, last):
        log.info("fine-tuning may pay", labels=labels, accuracy=round(accuracy, 4))
        want(db, project_id, WorkKind.FINETUNE)
