"""Running out of memory: how it is recognised, and what is done then."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

_SAID = (
    "out of memory",
    "can't allocate memory",
    "CUDNN_STATUS_NOT_SUPPORTED",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch would help: as torch, CUDA and cuDNN say it, nothing else."""
    # torch.OutOfMemoryError is a RuntimeError that says so.
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(said in str(error) for said in _SAID)
    )


@dataclass
class Parts:
    """How many rows are computed at a time; half as many whenever the memory doesn't suffice."""

    size: int

    def run(self, rows: Sequence[int], each: Callable[[Sequence[int]], None]) -> bool:
        """`each` of the rows' parts. False if the memory didn't suffice: with smaller parts then,
        do it again from the start. Raises the error when a part of one row is too large."""
        try:
            for start in range(0, len(rows), self.size):
                each(rows[start : start + self.size])
        except Exception as error:
            if not is_out_of_memory(error) or self.size == 1:
                raise
        else:
            return True
        self.size = max(1, min(self.size, len(rows)) // 2)
        return False
