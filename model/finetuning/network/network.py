"""The backbone with a linear layer for each target, on normalised features."""

from collections.abc import Mapping

import torch
from torch import nn

from model.heads.linear import LinearHead

# Added to features before a power below one: the slope at zero would be infinite.
EPSILON = 1e-3
# Logit by which the bias of a class without labels starts below the others'.
UNSEEN = 3.0


class HeadLayer(nn.Module):
    """A `LinearHead` as a layer: features [N, D] to outputs [N, C]."""

    def __init__(self, dim: int, width: int, power: float) -> None:
        super().__init__()
        self.power = power
        self.weight = nn.Parameter(torch.zeros(width, dim))
        self.bias = nn.Parameter(torch.zeros(width))

    @classmethod
    def of(cls, head: LinearHead) -> "HeadLayer":
        """Make a layer with the weights of a fitted head."""
        dim, width = head.weight.shape
        layer = cls(dim, width, head.power)
        bias = torch.tensor(head.bias)
        seen = torch.isfinite(bias)
        lowest = bias[seen].min() if seen.any() else torch.zeros(())
        with torch.no_grad():
            # Normalised features are of length √D here, so that one rate suits every D.
            layer.weight.copy_(torch.tensor(head.weight).T / dim**0.5)
            layer.bias.copy_(torch.where(seen, bias, lowest - UNSEEN))
        return layer

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Compute the logits [B, K] of features [B, D]."""
        x = features.float()
        if self.power != 1:
            x = x.sign() * (x.abs() + EPSILON) ** self.power
        x = nn.functional.normalize(x, dim=1) * x.shape[1] ** 0.5
        return nn.functional.linear(x, self.weight, self.bias)


class Network(nn.Module):
    """Normalised images [N, 3, H, W] to the outputs of each target."""

    def __init__(self, backbone: nn.Module, heads: Mapping[str, HeadLayer]) -> None:
        super().__init__()
        self.backbone = backbone
        # By index: a control's name may contain any character.
        self.names = tuple(heads)
        self.heads = nn.ModuleList(heads.values())

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Compute {control: logits [B, K]} of images [B, 3, H, W]."""
        features = self.backbone(x)
        with torch.autocast(x.device.type, enabled=False):
            return {n: h(features) for n, h in zip(self.names, self.heads, strict=True)}

    def train(self, mode: bool = True) -> "Network":
        """Set the mode as in every module, but keep batch norms in eval mode.

        The statistics of small batches are worse than those of the pretraining, and the network
        would differ between training and inference.
        """
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


def trainable_parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return {name: parameter} of the parameters that are trained."""
    return {name: p for name, p in network.named_parameters() if p.requires_grad}
