"""Fine-tunes a backbone: checks the labels, decodes the images, trains, and reads the result.

Torch is imported when the training begins: loading it takes seconds.
"""

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
from model.finetuning.data.image_store import UNREADABLE, store_images
from model.finetuning.options import Options, Target
from model.finetuning.progress import Cancelled, Progress
from model.finetuning.results import CannotFinetuneError, Evaluation, Finetuned
from model.finetuning.specification import OUTPUTS, RESULT, TUNED, Specification
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
    """Fine-tune `backbone` from its pretrained weights on the images of `items`.

    Args:
        items: [N] what `load` takes.
        load: gives the RGB image of an item. It is called from several threads; an item for which
            it raises is left out.
        targets: the labels of the N items.
        validation: [N] rows that are never trained on. Early stopping and weight interpolation use
            them, so that metrics on them are slightly optimistic.
        folder: for this fine-tuning alone. It is resumed from there if labels, options and the
            items' `repr` are equal.
        report: called with the progress in this thread, at each micro-batch.
        stop: called as often; true cancels.
        heads: fitted heads to start from, by target.
        backbones: the folder that `get_backbone` takes.

    Raises:
        Cancelled: `stop` was true.
        CannotFinetuneError: labels, disk or backbone don't suit.
        UnknownBackboneError, BackboneUnavailableError: as `get_backbone`.
    """
    specification = Specification(
        backbone, backbones, tuple(targets), validation, options, dict(heads or {})
    )
    _check(specification, len(items))
    specification.save(folder, items)
    finished = _read_result(folder, specification)
    if finished is not None:
        return finished
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
    if _train(specification, folder, report, stop):
        gc.collect()
        raise Cancelled
    result = _read_result(folder, specification)
    assert result is not None, "it was written just now"
    return result


def _train(
    specification: Specification,
    folder: Path,
    report: Callable[[Progress], None],
    stop: Callable[[], bool],
) -> bool:
    """Train; return True if it was cancelled. An exception's traceback would hold the memory."""
    from model.finetuning.launch import run_alone, run_together

    try:
        processes = _processes(specification.options)
        if processes > 1:
            run_together(folder, processes, report, stop)
        else:
            run_alone(specification, folder, report, stop)
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


def _check(specification: Specification, items: int) -> None:
    if specification.validation.shape != (items,) or specification.validation.dtype != np.bool_:
        raise ValueError(f"validation must be {items} booleans.")
    names = [target.name for target in specification.targets]
    if len(set(names)) != len(names):
        raise ValueError(f"Two targets have one name: {', '.join(names)}.")
    if unknown := set(specification.heads) - set(names):
        raise ValueError(f"heads are given that belong to no target: {', '.join(sorted(unknown))}.")
    for target in specification.targets:
        target.loss.check(target.name, target.y, items, target.width)


def _counted(report: Callable[[Progress], None], count: int) -> Callable[[int], None]:
    """Return a function that reports the number of decoded images, twice a second at most."""
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


def _read_result(folder: Path, specification: Specification) -> Finetuned | None:
    """Read the result from the folder; None before the training has finished."""
    from safetensors.numpy import load_file

    path, result = folder / TUNED, folder / RESULT
    if not result.exists():
        return None
    saved = json.loads(result.read_text())
    outputs = load_file(folder / OUTPUTS)
    state = np.frombuffer((folder / "images.state").read_bytes(), np.uint8)
    return Finetuned(
        path=path,
        digest=saved["digest"],
        method=saved["method"],
        history=tuple(Evaluation(**e) for e in saved["history"]),
        validation_outputs={t.name: outputs[str(n)] for n, t in enumerate(specification.targets)},
        unreadable=tuple(int(row) for row in np.nonzero(state == UNREADABLE)[0]),
    )
