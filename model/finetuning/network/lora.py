"""Low-rank adapters (LoRA): only a product B·A, added to a weight matrix, is trained.

Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022. As a parametrization of
the weight itself it works wherever the weight is used, also inside fused attention.
"""

import math

import torch
from torch import nn
from torch.nn.utils import parametrize

RANK = 8
ALPHA = 16  # the product counts ALPHA / RANK
SMALLEST = 64  # sides of the matrices that get adapters


class LowRankUpdate(nn.Module):
    """A trained low-rank update of a frozen weight [out, in]; zero at first."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.down = nn.Parameter(torch.empty(RANK, columns, device=weight.device))
        self.up = nn.Parameter(torch.zeros(rows, RANK, device=weight.device))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Add the low-rank update to a weight matrix [out, in]."""
        return weight + (ALPHA / RANK) * (self.up @ self.down)


def adaptable_weights(backbone: nn.Module) -> list[tuple[nn.Module, str]]:
    """List (module, name) of the matrices of linear layers and of attention."""
    weights: list[tuple[nn.Module, str]] = []
    for module in backbone.modules():
        for name in ("weight", "in_proj_weight"):
            weight = getattr(module, name, None)
            if (
                isinstance(module, nn.Linear | nn.MultiheadAttention)
                and isinstance(weight, nn.Parameter)
                and min(weight.shape) >= SMALLEST
            ):
                weights.append((module, name))
    return weights


def add_adapters(backbone: nn.Module) -> None:
    """Freeze the backbone and add adapters to its matrices; only they are trained."""
    backbone.requires_grad_(False)
    for module, name in adaptable_weights(backbone):
        parametrize.register_parametrization(module, name, LowRankUpdate(getattr(module, name)))


def merge_adapters(backbone: nn.Module) -> None:
    """Merge the adapters into the weights."""
    for module in list(backbone.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
