"""What is labelled, as one number: a task's only image, or one of several images of a task.

The number of a task's first image is the task's own id in Label Studio: where tasks have one image
each, nothing differs. A label of all images of a task together has an `item` below zero.
"""

FIRST = 0  # item of a task's only image, or of the first of several
_STEP = 2**40  # above every id of Label Studio's


def unit_of(task: int, item: int = FIRST) -> int:
    """The number of one image (`item`, from 0) of a task (Label Studio's id)."""
    return item * _STEP + task


def task_of(unit: int) -> int:
    """The task (Label Studio's id) that a unit belongs to."""
    return unit % _STEP


def item_of(unit: int) -> int:
    """Which image of its task a unit is, from 0."""
    return unit // _STEP
