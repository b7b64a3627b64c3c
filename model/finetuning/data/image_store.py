"""Decodes each image once, into a memory-mapped file for all epochs, processes and restarts."""

import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.arrays import Bools
from model.backbones import BackboneSpec
from model.embedding.preprocessing import ROUNDING, prepare
from model.finetuning.progress import Cancelled
from model.finetuning.results import CannotFinetuneError

T = TypeVar("T")

WAITING, READ, UNREADABLE = 0, 1, 2
IN_FLIGHT = 32  # images that are decoded at a time, or wait
SAVE_SECONDS = 5.0  # between saves of the state: a kill costs that much work


def stored_spec(spec: BackboneSpec) -> BackboneSpec:
    """The spec for the stored images: without the centre crop, so that augmentation can shift.

    Only for backbones with a square centre crop; else `spec` itself.
    """
    height, width = spec.shape
    if spec.crop_pct >= 1 or spec.crop_mode != "center" or height != width:
        return spec
    side = math.floor(height / spec.crop_pct + ROUNDING)
    return replace(spec, input_size=side, input_width=None, crop_pct=1.0)


def store_images(
    items: Sequence[T],
    load: Callable[[T], Image.Image],
    spec: BackboneSpec,
    folder: Path,
    *,
    workers: int,
    report: Callable[[int], None],
    stop: Callable[[], bool],
) -> None:
    """Decode the images of `items` that aren't in the folder yet.

    `report` gets the number of decoded images. An image that can't be loaded isn't tried again.
    Raises Cancelled, and CannotFinetuneError when the disk is too small.
    """
    state_file = folder / "images.state"
    shape = (len(items), *stored_spec(spec).shape, 3)
    pixels, existed = _open(folder / "images.u8", shape)
    if not existed:
        state_file.unlink(missing_ok=True)  # it is of pixels that are gone
    state = _state(state_file, len(items))
    saved = time.monotonic()

    def save() -> None:
        # The pixels first: no state may mark missing pixels as read.
        pixels.flush()
        state_file.with_suffix(".new").write_bytes(state.tobytes())
        state_file.with_suffix(".new").replace(state_file)

    todo = iter(np.nonzero(state == WAITING)[0])
    running: dict[Future[NDArray[np.uint8]], int] = {}
    uncropped = stored_spec(spec)
    with ThreadPoolExecutor(workers) as pool:
        try:
            while True:
                while len(running) < IN_FLIGHT and (row := next(todo, None)) is not None:
                    running[pool.submit(_read, items[row], load, uncropped)] = int(row)
                if not running:
                    break
                done, _ = wait(running, timeout=1, return_when=FIRST_COMPLETED)
                for future in done:
                    row = running.pop(future)
                    error = future.exception()
                    if error is None:
                        pixels[row] = future.result()
                    elif not isinstance(error, Exception):
                        raise error
                    state[row] = READ if error is None else UNREADABLE
                report(int((state != WAITING).sum()))
                if stop():
                    raise Cancelled
                if time.monotonic() - saved > SAVE_SECONDS:
                    save()
                    saved = time.monotonic()
        finally:
            pool.shutdown(cancel_futures=True)
            save()


def open_stored_images(
    spec: BackboneSpec, count: int, folder: Path
) -> tuple[NDArray[np.uint8], Bools]:
    """Open the mapped pixels [N, H, W, 3], and whether each image [N] could be read."""
    shape = (count, *stored_spec(spec).shape, 3)
    pixels = np.memmap(folder / "images.u8", np.uint8, "r", shape=shape)
    return pixels, _state(folder / "images.state", count) == READ


def _read(item: T, load: Callable[[T], Image.Image], spec: BackboneSpec) -> NDArray[np.uint8]:
    return prepare(load(item), spec)


def _state(path: Path, count: int) -> NDArray[np.uint8]:
    saved = np.frombuffer(path.read_bytes(), np.uint8) if path.exists() else np.empty(0, np.uint8)
    return saved.copy() if len(saved) == count else np.full(count, WAITING, np.uint8)


def _open(path: Path, shape: tuple[int, ...]) -> tuple[np.memmap[Any, np.dtype[np.uint8]], bool]:
    """Map the file; also whether it existed already."""
    size = math.prod(shape)
    if path.exists() and path.stat().st_size == size:
        return np.memmap(path, np.uint8, "r+", shape=shape), True
    free = shutil.disk_usage(path.parent).free
    if free < size:
        raise CannotFinetuneError(
            f"{shape[0]} decoded images take {size / 2**30:.1f} GiB in {path.parent}, where only "
            f"{free / 2**30:.1f} GiB are free: make room there."
        )
    with path.open("wb") as file:
        os.truncate(file.fileno(), size)
    return np.memmap(path, np.uint8, "r+", shape=shape), False
