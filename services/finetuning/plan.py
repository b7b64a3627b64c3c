"""The plan of a fine-tuning run, fixed when it begins, so that a killed run can be resumed."""

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.arrays import Bools, Int64s
from model.finetuning import CannotFinetuneError, Target, tuning_target
from model.statistics.folds import grouped_folds
from services.training.holdout import HOLDOUT_LEAST
from services.training.training_set import TrainingSet
from store.tasks.tasks import Task
from store.tasks.units import FIRST, item_of
from studio.config import LabelConfig

VALIDATION_SHARE = 0.1  # of the labels: they say when to stop
MEASURING_SHARE = 0.2  # where no hold-out is: the same labels also decide whether it is published

TOGETHER = "a backbone is tuned on labels of single images, not of all images of a task"

PLAN, ARRAYS = "plan.json", "plan.npz"


@dataclass(frozen=True)
class TrainingImage:
    """A labelled image. Equal ones are the same pixels."""

    task: int
    uri: str
    image_key: str | None


@dataclass(frozen=True, eq=False)
class FinetuningPlan:
    """A run's images [N], which of them are for validation [N], and their targets."""

    asked_at: float  # when it was requested, seconds since 1970
    backbone: str  # pretrained
    labels: int  # there were, those held out included
    items: tuple[TrainingImage, ...]
    validation: Bools
    targets: tuple[Target, ...]

    @property
    def training_tasks(self) -> frozenset[int]:
        """The tasks of the training images."""
        return frozenset(i.task for i, v in zip(self.items, self.validation, strict=True) if not v)

    @property
    def validation_tasks(self) -> frozenset[int]:
        """The tasks of the validation images."""
        return frozenset(i.task for i, v in zip(self.items, self.validation, strict=True) if v)

    def save(self, folder: Path) -> None:
        """Write the plan into the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, npt.NDArray[Any]]
        arrays = {f"y{i}": np.asarray(target.y) for i, target in enumerate(self.targets)}
        arrays["validation"] = self.validation
        np.savez(folder / ARRAYS, **arrays)  # type: ignore[arg-type] # none is called allow_pickle
        stored = {
            "asked_at": self.asked_at,
            "backbone": self.backbone,
            "labels": self.labels,
            "items": [[item.task, item.uri, item.image_key] for item in self.items],
            "targets": [[t.name, t.kind, list(t.classes)] for t in self.targets],
            "arrays": hashlib.sha256((folder / ARRAYS).read_bytes()).hexdigest(),
        }
        scratch = folder / f"{PLAN}.new"
        scratch.write_text(json.dumps(stored))
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        scratch.replace(folder / PLAN)

    @classmethod
    def load(cls, folder: Path) -> "FinetuningPlan | None":
        """Read the plan from the folder; None when there is none, or a damaged one."""
        try:
            stored = json.loads((folder / PLAN).read_text())
            content = (folder / ARRAYS).read_bytes()
        except (OSError, ValueError):
            return None
        if hashlib.sha256(content).hexdigest() != stored["arrays"]:
            return None
        with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
            targets = tuple(
                Target(name, kind, tuple(classes), arrays[f"y{i}"])
                for i, (name, kind, classes) in enumerate(stored["targets"])
            )
            validation = arrays["validation"]
        items = tuple(TrainingImage(*item) for item in stored["items"])
        return cls(
            stored["asked_at"], stored["backbone"], stored["labels"], items, validation, targets
        )


def make_plan(
    data: TrainingSet,
    images: dict[int, Task],
    config: LabelConfig,
    *,
    backbone: str,
    asked_at: float,
    seed: int,
) -> FinetuningPlan:
    """Split the labelled images into training and validation, without the hold-out.

    Args:
        images: {unit: image}.

    Raises:
        CannotFinetuneError: there is nothing to learn.
    """
    groups = data.groups()
    holdout = data.holdout if len(data.holdout) >= HOLDOUT_LEAST else frozenset[int]()
    held_out = np.array([int(task) in holdout for task in data.tasks], np.bool_)
    alone = np.array([item_of(unit) >= FIRST for unit in data.units], np.bool_)
    rows = np.flatnonzero(~np.isin(groups, groups[held_out]) & alone)
    targets, reasons = [], []
    for control in config.controls:
        labels = data.of_control(control, groups).labels
        if control.multi_image and not control.per_item:
            reasons.append(f"{control.name}: {TOGETHER}")
            continue
        target, reason = tuning_target(control.name, labels, len(data.tasks))
        if target is None:
            reasons.append(f"{control.name}: {reason}")
        else:
            targets.append(replace(target, y=target.y[rows]))
    if not targets:
        raise CannotFinetuneError("; ".join(reasons))
    share = VALIDATION_SHARE if holdout else MEASURING_SHARE
    validation = _validation(targets, groups[rows], share, seed=seed)
    items = []
    for row in rows:
        image = images[int(data.tasks[row])]
        items.append(TrainingImage(image.ls_id, str(image.uri), image.image_key))
    return FinetuningPlan(
        asked_at, backbone, len(data.tasks), tuple(items), validation, tuple(targets)
    )


def _validation(targets: list[Target], groups: Int64s, share: float, *, seed: int) -> Bools:
    """Choose validation rows [N], as a mask: whole near-duplicate groups, stratified by class."""
    strata = _strata(targets, len(groups))
    if len(np.unique(groups)) < 2:
        return np.zeros(len(groups), np.bool_)
    chosen = grouped_folds(strata, groups, round(1 / share), seed=seed) == 0
    # A class is learned rather than measured when it has too few labels for both.
    lacking = np.setdiff1d(strata[chosen], strata[~chosen])
    validates: Bools = chosen & ~np.isin(groups, groups[chosen & np.isin(strata, lacking)])
    return validates


def _strata(targets: list[Target], count: int) -> Int64s:
    """The stratum of each row [N]: the class of the first target that has classes."""
    for target in targets:
        strata = target.loss.strata(np.asarray(target.y))
        if strata is not None:
            return np.asarray(strata, np.int64)
    return np.zeros(count, np.int64)
