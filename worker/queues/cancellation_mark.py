"""A flag in shared memory: the job's process ended itself because the job was cancelled."""

import mmap

_MARK = mmap.mmap(-1, 1)  # shared by a worker and the processes that it forks


def set_mark() -> None:
    """Mark the job as cancelled, in its own process."""
    _MARK[0] = 1


def clear_mark() -> None:
    """Remove the mark of an earlier job, before the next one's process is forked."""
    _MARK[0] = 0


def is_marked() -> bool:
    """Whether the newest job's process ended itself because the job was cancelled."""
    return _MARK[0] == 1
