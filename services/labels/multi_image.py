"""Tasks with several images: what of them is learned, and what is suggested for all together.

What is asked of each image has a row an image. What is asked of all images together has a row of
its own, whose embedding is the mean of theirs; it exists while a project is looked at, and nowhere
in the store.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from services.suggestions.predictor import Predictor, Suggestion, TaskData
from store.store import Store
from store.tasks.tasks import Task
from studio.config import LabelConfig
from studio.items import WHOLE, at_item

T = TypeVar("T")
Floats = npt.NDArray[np.floating[Any]]
Vector = npt.NDArray[np.float16]

NOTHING_LEARNED = Suggestion([], 0.0)
JOIN = "+"  # between the keys of images that are looked at together


def learned_of(images: Sequence[Task], config: LabelConfig) -> list[Task]:
    """What is learned of these images, which are in order: a row each, or one for all of a task."""
    if not config.several:
        return list(images)
    rows: list[Task] = []
    each, together = config.at(whole=False).controls, config.at(whole=True).controls
    for _, group in groupby(images, attrgetter("ls_id")):
        of_task = list(group)
        if together:
            rows.append(_whole(of_task))
        if each:
            rows += of_task
    return rows


def _whole(images: Sequence[Task]) -> Task:
    """All images of a task, as far as they are usable, as one."""
    usable = [image for image in images if image.usable]
    first = usable[0] if usable else images[0]
    keys = [image.image_key for image in usable]
    return replace(
        first,
        item=WHOLE,
        image_key=JOIN.join(map(str, keys)) if keys and None not in keys else None,
        embedded_space=_shared([image.embedded_space for image in usable]),
        next_space=_shared([image.next_space for image in usable]),
        split=next((image.split for image in images if image.split), None),
    )


def _shared(spaces: Sequence[str | None]) -> str | None:
    return spaces[0] if spaces and len(set(spaces)) == 1 else None


def image_counts(images: Sequence[Task]) -> dict[int, int]:
    """{task: how many images it has}, of those with several."""
    return {image.ls_id: image.item + 1 for image in images if image.item > 0}


def unready(rows: Sequence[Task], space: str) -> set[int]:
    """Tasks with an image that may still get an embedding in a space, and has none."""
    return {row.ls_id for row in rows if row.usable and row.embedded_space != space}


def vectors_of(store: Store, space: str, keys: Sequence[str]) -> dict[str, Vector]:
    """{key: embedding [D]}, of those that the space holds; of several images, their mean."""
    joined = [key for key in keys if JOIN in key]
    if not joined:
        return store.embeddings.get(space, keys)
    parts = {key: key.split(JOIN) for key in joined}
    asked = {key for key in keys if JOIN not in key}.union(*parts.values())
    found = store.embeddings.get(space, sorted(asked))
    means = {
        key: _mean([found[part] for part in of_key])
        for key, of_key in parts.items()
        if all(part in found for part in of_key)
    }
    return {key: found[key] for key in keys if key in found} | means


def asked_of(config: LabelConfig, vectors: Mapping[int, Vector]) -> list[tuple[int, Vector]]:
    """(item, embedding [D]) of what is asked of a task, of whose images {item: [D]} are there."""
    if not config.several or not vectors:
        return list(vectors.items())
    together = config.at(whole=True).controls
    rows = [(WHOLE, _mean(list(vectors.values())))] if together else []
    return [*rows, *vectors.items()] if config.at(whole=False).controls else rows


def _mean(vectors: Sequence[Vector]) -> Vector:
    mean: Vector = np.stack(vectors).mean(axis=0, dtype=np.float32).astype(np.float16)
    return mean


def parts_of(rows: Sequence[T], size: int, owner: Callable[[T], int]) -> Iterator[Sequence[T]]:
    """The rows in parts of about `size`; those in a row that have one owner stay together."""
    start = 0
    while start < len(rows):
        end = min(start + size, len(rows))
        while end < len(rows) and owner(rows[end]) == owner(rows[end - 1]):
            end += 1
        yield rows[start:end]
        start = end


def suggest_together(
    predictor: Predictor,
    config: LabelConfig,
    asked: Sequence[tuple[int, int]],
    x: Floats,
    least: float,
    data: Sequence[TaskData] | None,
) -> dict[int, Suggestion]:
    """{name: what is suggested for all rows of that name}, as sure as the least sure of them.

    Args:
        asked: [N] the name and the item of each row.
        x: [N, D] embeddings.
        data: [N] of the tasks, where that matters.
    """
    names = [name for name, _ in asked]
    if not any(control.several or control.per_item for control in config.controls):
        return dict(zip(names, predictor.suggest(config, x, least, data), strict=True))
    found: dict[int, Suggestion] = {}
    for whole in (True, False):
        rows = [row for row, (_, item) in enumerate(asked) if (item == WHOLE) == whole]
        asks = config.at(whole=whole)
        if not rows or not any(map(predictor.learned, asks.controls)):
            continue
        offered = None if data is None else [data[row] for row in rows]
        for row, one in zip(rows, predictor.suggest(asks, x[rows], least, offered), strict=True):
            name, item = asked[row]
            said = replace(one, result=_at(asks, one.result, item))
            found[name] = said if name not in found else _both(found[name], said)
    return {name: found.get(name, NOTHING_LEARNED) for name in names}


def _at(config: LabelConfig, result: Sequence[dict[str, Any]], item: int) -> list[dict[str, Any]]:
    """The regions, naming the image that they are for where Label Studio asks for that."""
    by_name = {control.name: control for control in config.controls}
    return [at_item(by_name[region["from_name"]], region, item) for region in result]


def _both(first: Suggestion, second: Suggestion) -> Suggestion:
    return Suggestion(
        [*first.result, *second.result],
        min(first.confidence, second.confidence),
        {**first.intervals, **second.intervals},
    )
