"""Fine-tuning from images to a file, in this process or in one a GPU. No torch until then."""

import gc
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from model.arrays import Bools
from model.backbones import get_backbone
from model.embedding.devices import available_cpus, resolve_device
from model.finetuning.data.images import UNREADABLE, store_images
from model.finetuning.job import OUTPUTS, RESULT, TUNED, Job
from model.finetuning.terms import (
    Cancelled,
    CannotFinetuneError,
    Evaluation,
    Finetuned,
    Options,
    Progress,
    Target,
)
from model.heads import Head

T = TypeVar("T")

REPORT_SECONDS = 0.5  # between two reports while images are decoded


def finetune(
    backbone: str,
    items: Sequence[T],
    load: Callable[[T], Image.Image],
    targets: Sequence[Target],
    validation: Bools,
    *,
    options: Options,
    folder: Path,
    report: Callable[[Progress], None],
    stop: Callable[[], bool],
    heads: Mapping[str, Head] | None = None,
    backbones: Path | None = None,
) -> Finetuned:
    """Tune `backbone` from its pretrained weights on what `targets` say of the images of `items`.

    `load` gives the RGB image of an item, and is called from several threads; one that raises is
    left out. `validation` [N] marks rows that are never trained on: they choose when to end and how
    far to go from the pretrained weights, so that what is measured on them is a little too good,
    and that much is all they give away. `heads` are fitted ones to start from, by target.

    `folder` is this job's own. What was done there is gone on with if everything is the same: equal
    answers and options, and items of equal `repr`. `report` and `stop` are called in this thread,
    every part of a batch; `backbones` is the folder that `get_backbone` takes.

    Raises Cancelled when `stop` said so, CannotFinetuneError for labels, a disk or a backbone that
    it can't work with, and what `get_backbone` raises.
    """
    job = Job(backbone, backbones, tuple(targets), validation, options, dict(heads or {}))
    _check(job, len(items))
    job.save(folder, items)
    found = _result(folder, job)
    if found is not None:
        return found
    spec = get_backbone(backbone, backbones)
    if not spec.trainable:
        raise CannotFinetuneError(f"{backbone} can't be fine-tuned: it only gives features.")
    store_images(
        items,
        load,
        spec,
        folder,
        workers=options.threads or available_cpus(),
        report=_counted(report, len(items)),
        stop=stop,
    )
    if _here(job, folder, report, stop):
        gc.collect()
        raise Cancelled
    found = _result(folder, job)
    assert found is not None, "it was written just now"
    return found


def _here(
    job: Job, folder: Path, report: Callable[[Progress], None], stop: Callable[[], bool]
) -> bool:
    """Run the job. True if it was cancelled: said so, since an exception would hold its memory."""
    from model.finetuning.launch import run_alone, run_together

    try:
        processes = _processes(job.options)
        if processes > 1:
            run_together(folder, processes, report, stop)
        else:
            run_alone(job, folder, report, stop)
    except Cancelled:
        return True
    return False


def _processes(options: Options) -> int:
    if options.processes is not None:
        return options.processes
    if resolve_device(options.device) != "cuda":
        return 1
    import torch

    return torch.cuda.device_count()


def _check(job: Job, items: int) -> None:
    if job.validation.shape != (items,) or job.validation.dtype != np.bool_:
        raise ValueError(f"validation must be {items} booleans.")
    names = [target.name for target in job.targets]
    if len(set(names)) != len(names):
        raise ValueError(f"Two targets have one name: {', '.join(names)}.")
    if unknown := set(job.heads) - set(names):
        raise ValueError(f"heads are given for what is no target: {', '.join(sorted(unknown))}.")
    for target in job.targets:
        wanted = (items, target.width) if target.kind == "multi" else (items,)
        if np.shape(target.y) != wanted:
            raise ValueError(f"y of {target.name} must be {wanted}, not {np.shape(target.y)}.")
        if target.kind == "single" and np.max(target.y, initial=-1) >= target.width:
            raise ValueError(f"y of {target.name} holds an index beyond its classes.")


def _counted(report: Callable[[Progress], None], count: int) -> Callable[[int], None]:
    """What reports decoded images, not more often than anyone would look."""
    began = latest = time.monotonic()
    first: int | None = None

    def count_up(done: int) -> None:
        nonlocal latest, first
        first = done if first is None else first
        now = time.monotonic()
        if now - latest < REPORT_SECONDS and done < count:
            return
        latest = now
        rate = (done - first) / max(now - began, 1e-9)
        left = (count - done) / rate if rate else None
        report(Progress(done, count, None, rate, left, "images"))

    return count_up


def _result(folder: Path, job: Job) -> Finetuned | None:
    """What a finished run wrote into the folder."""
    from safetensors.numpy import load_file

    path, result = folder / TUNED, folder / RESULT
    if not result.exists():
        return None
    said = json.loads(result.read_text())
    outputs = load_file(folder / OUTPUTS)
    state = np.frombuffer((folder / "images.state").read_bytes(), np.uint8)
    return Finetuned(
        path=path,
        digest=said["digest"],
        method=said["method"],
        history=tuple(Evaluation(**e) for e in said["history"]),
        validation_outputs={t.name: outputs[str(n)] for n, t in enumerate(job.targets)},
        unreadable=tuple(int(row) for row in np.nonzero(state == UNREADABLE)[0]),
    )
