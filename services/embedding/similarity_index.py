"""An index for similar images: a project's embeddings as memory-mapped files.

They are derived from the embeddings database by the embed job, in HOME/matrices, and can be thrown
away at any time. Rows are only added: an image that no task shows any more is left out by the one
who asks. Three files grow together; a row counts once all three have it.
"""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from model.arrays import Float32s, Floats
from model.similarity import Codes, quantise
from store.settings import Settings
from store.store import Store

KEY_BYTES = 64  # of an image's key: a SHA-256 in hex
IMAGES = "images"  # a file with their number
ROWS = 5_000  # embeddings read and added at a time


@dataclass(frozen=True)
class SimilarityIndex:
    """The rows of an index: [N, D] codes, [N] scales, and [N] image keys as bytes."""

    codes: Codes
    scales: Float32s
    keys: NDArray[np.bytes_]


def folder_of(settings: Settings, project_id: int, space: str) -> Path:
    """The folder of a project's index in one embedding space."""
    name = hashlib.sha256(space.encode()).hexdigest()[:16]
    return settings.home / "matrices" / f"{project_id}-{name}"


def open_index(settings: Settings, project_id: int, space: str, width: int) -> SimilarityIndex:
    """The index of embeddings with `width` numbers; without rows when there is none yet."""
    folder = folder_of(settings, project_id, space)
    count = _rows(folder, width)
    if count == 0:
        return SimilarityIndex(
            np.empty((0, width), np.int8), np.empty(0, np.float32), np.empty(0, f"S{KEY_BYTES}")
        )
    return SimilarityIndex(
        np.memmap(folder / "codes", np.int8, "r", shape=(count, width)),
        np.memmap(folder / "scales", np.float32, "r", shape=(count,)),
        np.memmap(folder / "keys", f"S{KEY_BYTES}", "r", shape=(count,)),
    )


def images_indexed(settings: Settings, project_id: int, space: str) -> int:
    """The number of images for which this machine's index was extended last."""
    try:
        return int((folder_of(settings, project_id, space) / IMAGES).read_text())
    except (FileNotFoundError, ValueError):
        return 0


def extend_index(store: Store, project_id: int, space: str, image_keys: Sequence[str]) -> int:
    """Add the embeddings of images that the index lacks; delete the project's other indexes.

    Returns:
        How many were added.
    """
    folder = folder_of(store.settings, project_id, space)
    for other in folder.parent.glob(f"{project_id}-*"):
        if other != folder and other.is_dir():
            shutil.rmtree(other, ignore_errors=True)
    added = 0
    with _locked(folder):
        indexed = set(_read_keys(folder))
        missing = [key for key in dict.fromkeys(image_keys) if key.encode() not in indexed]
        for start in range(0, len(missing), ROWS):
            vectors = store.embeddings.get(space, missing[start : start + ROWS])
            if vectors:
                _append(folder, list(vectors), np.stack(list(vectors.values())))
                added += len(vectors)
        (folder / IMAGES).write_text(str(len(image_keys)))
    return added


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(folder / "lock"):
        yield


def _read_keys(folder: Path) -> list[bytes]:
    path = folder / "keys"
    if not path.exists():
        return []
    whole = path.stat().st_size // KEY_BYTES
    keys: list[bytes] = np.fromfile(path, f"S{KEY_BYTES}", count=whole).tolist()
    return keys


def _rows(folder: Path, width: int) -> int:
    sizes = {"codes": width, "scales": 4, "keys": KEY_BYTES}
    try:
        return min((folder / name).stat().st_size // size for name, size in sizes.items())
    except FileNotFoundError:
        return 0


def _append(folder: Path, keys: list[str], x: Floats) -> None:
    codes, scales = quantise(x)
    width = codes.shape[1]
    count = _rows(folder, width)
    named = np.array([key.encode() for key in keys], f"S{KEY_BYTES}")
    rows = (
        ("codes", codes.tobytes(), width),
        ("scales", scales.tobytes(), 4),
        ("keys", named.tobytes(), KEY_BYTES),
    )
    for name, content, size in rows:
        with (folder / name).open("ab") as file:
            file.truncate(count * size)  # what an interrupted job left behind
            file.write(content)
