"""Micro-batches that are halved when memory runs out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

_MESSAGES = (
    "out of memory",
    "can't allocate memory",
    "CUDNN_STATUS_NOT_SUPPORTED",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch would help: an out-of-memory error of torch, CUDA or cuDNN."""
    # torch.OutOfMemoryError is a RuntimeError with one of the messages.
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(message in str(error) for message in _MESSAGES)
    )


@dataclass
class MicroBatches:
    """Runs a batch in micro-batches of `size` rows, halved whenever memory runs out."""

    size: int

    def run(self, rows: Sequence[int], each: Callable[[Sequence[int]], None]) -> bool:
        """Call `each` with every micro-batch of `rows`.

        Returns False when memory ran out: `size` is smaller then, and the caller starts again.
        Raises the error when a micro-batch of one row is too large.
        """
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
