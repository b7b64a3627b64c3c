"""Reads the embeddings of tasks from the store."""

from collections.abc import Mapping, Sequence

import numpy as np

from model.arrays import Float16s, Floats
from services.labels.multi_image import JOIN
from store.store import Store
from store.tasks.tasks import Task
from studio.config import LabelConfig
from studio.items import ALL_IMAGES


def load_vectors(store: Store, space: str, tasks: Sequence[Task]) -> tuple[list[Task], Floats]:
    """The tasks that have an embedding, and their embeddings [N, D]."""
    vectors = vectors_of(store, space, [task.image_key for task in tasks if task.image_key])
    embedded = [task for task in tasks if task.image_key in vectors]
    if not embedded:
        return [], np.empty((0, 0), np.float16)
    return embedded, np.stack([vectors[str(task.image_key)] for task in embedded])


def vectors_of(store: Store, space: str, keys: Sequence[str]) -> dict[str, Float16s]:
    """{image key: embedding [D]} of a space; for joined keys the mean of their images.

    Keys without an embedding are left out.
    """
    joined = [key for key in keys if JOIN in key]
    if not joined:
        return store.embeddings.get(space, keys)
    parts = {key: key.split(JOIN) for key in joined}
    asked = {key for key in keys if JOIN not in key}.union(*parts.values())
    image_vectors = store.embeddings.get(space, sorted(asked))
    means = {
        key: _mean([image_vectors[part] for part in of_key])
        for key, of_key in parts.items()
        if all(part in image_vectors for part in of_key)
    }
    return {key: image_vectors[key] for key in keys if key in image_vectors} | means


def unit_vectors(
    config: LabelConfig, vectors: Mapping[int, Float16s]
) -> list[tuple[int, Float16s]]:
    """(image index, embedding [D]) of each unit of a task, given {image index: [D]}."""
    if not config.multi_image or not vectors:
        return list(vectors.items())
    together = config.at(whole=True).controls
    rows = [(ALL_IMAGES, _mean(list(vectors.values())))] if together else []
    return [*rows, *vectors.items()] if config.at(whole=False).controls else rows


def _mean(vectors: Sequence[Float16s]) -> Float16s:
    mean: Float16s = np.stack(vectors).mean(axis=0, dtype=np.float32).astype(np.float16)
    return mean
