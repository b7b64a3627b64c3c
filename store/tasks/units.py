"""Units of labelling: a task's only image, or one of several images of a task, as one number.

The number of a task's first image is the task's own id in Label Studio: where tasks have one image
each, nothing differs. A label of all images of a task together has an `item` below zero.
"""

from typing import NewType

TaskId = NewType("TaskId", int)  # a task's id in Label Studio
UnitId = NewType("UnitId", int)  # a task and one of its images

FIRST = 0  # item of a task's only image, or of the first of several
_STEP = 2**40  # above every id of Label Studio's


def unit_of(task: TaskId, item: int = FIRST) -> UnitId:
    """The unit of one image (`item`, from 0) of a task."""
    return UnitId(item * _STEP + task)


def task_of(unit: UnitId) -> TaskId:
    """The task that a unit belongs to."""
    return TaskId(unit % _STEP)


def item_of(unit: UnitId) -> int:
    """Which image of its task a unit is, from 0."""
    return unit // _STEP
