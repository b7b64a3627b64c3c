"""Tasks with several images: the rows that are learned, one an image or one a task.

What is asked of each image has a row an image. What is asked of all images together has a row of
its own, whose embedding is the mean of theirs; it exists while a project is looked at, and nowhere
in the store.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import TypeVar

from store.tasks.tasks import Task
from store.tasks.units import TaskId
from studio.config import LabelConfig
from studio.items import ALL_IMAGES

T = TypeVar("T")

JOIN = "+"  # between the keys of images that are looked at together


def learned_rows(images: Sequence[Task], config: LabelConfig) -> list[Task]:
    """Make rows of the images, given in order: one an image, or one for all of a task."""
    if not config.multi_image:
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
    """Join a task's usable images into one row."""
    usable = [image for image in images if image.usable]
    first = usable[0] if usable else images[0]
    keys = [image.image_key for image in usable]
    return replace(
        first,
        item=ALL_IMAGES,
        image_key=JOIN.join(map(str, keys)) if keys and None not in keys else None,
        embedded_space=_shared([image.embedded_space for image in usable]),
        next_space=_shared([image.next_space for image in usable]),
        split=next((image.split for image in images if image.split), None),
    )


def _shared(spaces: Sequence[str | None]) -> str | None:
    return spaces[0] if spaces and len(set(spaces)) == 1 else None


def image_counts(images: Sequence[Task]) -> dict[TaskId, int]:
    """{task: number of its images}, of tasks with several."""
    return {image.ls_id: image.item + 1 for image in images if image.item > 0}


def not_embedded(rows: Sequence[Task], space: str) -> set[TaskId]:
    """The tasks with an image that is still to be embedded in a space."""
    return {row.ls_id for row in rows if row.usable and row.embedded_space != space}


def parts_of(rows: Sequence[T], size: int, owner: Callable[[T], int]) -> Iterator[Sequence[T]]:
    """Split rows into parts of about `size`, never between consecutive rows of one owner."""
    start = 0
    while start < len(rows):
        end = min(start + size, len(rows))
        while end < len(rows) and owner(rows[end]) == owner(rows[end - 1]):
            end += 1
        yield rows[start:end]
        start = end
