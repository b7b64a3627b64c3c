"""The processes that share a batch, one a GPU, as torchrun started them.

Each computes its rows and the gradients are summed before the move. That is done here and not by
torch's DDP wrapper, which sums while it goes back through the last part: a process whose memory
doesn't suffice there, and begins again with smaller parts, would leave the others waiting.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

import torch
from torch import distributed, nn

PATIENCE = timedelta(minutes=30)  # the others wait while the first evaluates


@dataclass(frozen=True)
class Team:
    """This process among those that share the work. The first also evaluates, saves and reports."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: str) -> Self:
        """What torchrun says in the environment. With "cuda" each has the GPU of its rank."""
        if device == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=PATIENCE)
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def first(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            distributed.barrier()

    def leave(self) -> None:
        """The end of the shared work."""
        distributed.destroy_process_group()

    def agree(self, ended: bool, device: torch.device) -> bool:
        """What the first process says."""
        if self.size == 1:
            return ended
        said = torch.tensor([float(ended)], device=device)
        distributed.broadcast(said, 0)
        return bool(said.item())

    def add_gradients(self, parameters: Sequence[nn.Parameter], loss: float) -> float:
        """Put everyone's sum into each parameter's gradient; the summed loss."""
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
