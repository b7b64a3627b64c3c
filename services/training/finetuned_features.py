"""Training sets in the space of a fine-tuned backbone, whose features have seen most labels.

There nothing can be measured out of fold. What the backbone has not seen is held out: the hold-out,
and where there is none the labels that only chose when the fine-tuning was good.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from services.embedding.vectors import vectors_of
from services.snapshot import Snapshot
from services.training.holdout import HOLDOUT_LEAST
from services.training.training_set import TrainingSet, training_set
from store.projects.embedding_spaces import backbone_of, is_tuned, pretrained_space
from store.store import Store
from store.tasks.units import TaskId, UnitId, task_of
from store.versions.finetuned_backbones import FinetunedBackbone, find_tuned


def tuned_of(store: Store, project_id: int, space: str) -> FinetunedBackbone | None:
    """The fine-tuned backbone that makes the embeddings of a space; None for a pretrained one."""
    backbone = backbone_of(space)
    if not is_tuned(backbone):
        return None
    with store.database.read() as db:
        return find_tuned(db, project_id, backbone)


def unseen_only(
    unbiased: Mapping[TaskId, bool], tuned: FinetunedBackbone | None
) -> dict[TaskId, bool]:
    """The labels eligible for the hold-out, without those the backbone was trained on."""
    trained = tuned.training_tasks if tuned else frozenset[int]()
    return {task: truth for task, truth in unbiased.items() if task not in trained}


def measurable(store: Store, data: TrainingSet, tuned: FinetunedBackbone | None) -> TrainingSet:
    """Hold out the labels that a fine-tuned backbone can be evaluated on."""
    if tuned is None:
        return data
    return as_tuned(
        store,
        tuned.project_id,
        data,
        tuned.base_backbone,
        training_tasks=tuned.training_tasks,
        validation_tasks=tuned.validation_tasks,
    )


def as_tuned(
    store: Store,
    project_id: int,
    data: TrainingSet,
    base: str,
    *,
    training_tasks: frozenset[int],
    validation_tasks: frozenset[int],
) -> TrainingSet:
    """The training set of a backbone that was tuned from `base` on `training_tasks`."""
    data = _with_pretrained(store, project_id, data, base)
    return replace(data, holdout=_evaluable(data, training_tasks, validation_tasks))


def labelled_set(store: Store, snapshot: Snapshot) -> tuple[TrainingSet, FinetunedBackbone | None]:
    """The training set of a snapshot, and the fine-tuned backbone of its space, if it is one.

    Near-duplicates are told apart by features that have not seen the labels.
    """
    data, tuned = (
        training_set(store, snapshot),
        tuned_of(store, snapshot.project.id, snapshot.space),
    )
    if tuned is not None:
        data = _with_pretrained(store, snapshot.project.id, data, tuned.base_backbone)
    return data, tuned


def _with_pretrained(store: Store, project_id: int, data: TrainingSet, base: str) -> TrainingSet:
    """Add the features of the pretrained `base`, if all are stored."""
    if data.pretrained is not None:
        return data
    keys = list(data.image_keys)
    with store.database.read() as db:
        space = pretrained_space(db, project_id, data.space, base)
    vectors = vectors_of(store, space, keys)
    complete = bool(keys) and all(key in vectors for key in keys)
    pretrained = np.stack([vectors[key] for key in keys]) if complete else None
    return replace(data, tuned=True, pretrained=pretrained)


def _evaluable(
    data: TrainingSet, training_tasks: frozenset[int], validation_tasks: frozenset[int]
) -> frozenset[UnitId]:
    """The labelled units on which a backbone can be evaluated."""
    holdout = frozenset(unit for unit in data.holdout if task_of(unit) not in training_tasks)
    if len(holdout) < HOLDOUT_LEAST:
        holdout |= {unit for unit in data.units if task_of(unit) in validation_tasks}
    return holdout
