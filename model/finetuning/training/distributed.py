"""The process group of a distributed training, one process for each GPU, started by torchrun.

Each process computes its rows of a batch; the gradients are summed before the optimiser's step.
Torch's DistributedDataParallel sums them during the backward pass of the last micro-batch: a
process that runs out of memory there, and begins again with smaller ones, would leave the others
waiting.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

import torch
from torch import distributed, nn

TIMEOUT = timedelta(minutes=30)  # the others wait while the first evaluates


@dataclass(frozen=True)
class ProcessGroup:
    """The rank of this process. The first one also evaluates, saves and reports."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: str) -> Self:
        """Join the group of torchrun's environment variables. With "cuda" each rank has a GPU."""
        if device == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=TIMEOUT)
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def is_first(self) -> bool:
        """Whether this is the process that evaluates, saves and reports."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            distributed.barrier()

    def destroy(self) -> None:
        """Leave the group."""
        distributed.destroy_process_group()

    def broadcast(self, ended: bool, device: torch.device) -> bool:
        """Return the first process's `ended` in all processes."""
        if self.size == 1:
            return ended
        flag = torch.tensor([float(ended)], device=device)
        distributed.broadcast(flag, 0)
        return bool(flag.item())

    def all_reduce_gradients(self, parameters: Sequence[nn.Parameter], loss: float) -> float:
        """Sum the gradients of all processes in each of them; return the summed loss."""
        if self.size == 1:
            return loss
        # A parameter without a gradient here may have one elsewhere.
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        flat = torch.cat([*(g.flatten() for g in gradients), gradients[0].new_tensor([loss])])
        distributed.all_reduce(flat)
        start = 0
        for parameter, gradient in zip(parameters, gradients, strict=True):
            count = gradient.numel()
            parameter.grad = flat[start : start + count].view_as(gradient)
            start += count
        return float(flat[-1])
