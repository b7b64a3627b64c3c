"""Networks that train in milliseconds, as a family "tiny" whose weights are the same every time."""

from pathlib import Path

import torch
from torch import nn

from model.backbones.registry import FAMILIES, BackboneSpec, Family


def convolutional() -> nn.Module:
    """A few 3×3 convolutions with batch norm, 32 × 32 pixels to 32 features."""
    blocks = [
        nn.Sequential(nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
        for a, b in ((3, 16), (16, 32), (32, 32))
    ]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def transformer() -> nn.Module:
    """A ViT of two blocks."""
    import timm

    module: nn.Module = timm.create_model(
        "vit_tiny_patch16_224",
        pretrained=False,
        img_size=32,
        patch_size=8,
        depth=2,
        embed_dim=64,
        num_heads=2,
        num_classes=0,
    )
    return module


def attentive() -> nn.Module:
    """torchvision's ViT of one block, whose attention is torch's own."""
    from torchvision.models import VisionTransformer

    module = VisionTransformer(32, 8, 1, 2, 64, 128)
    module.heads = nn.Identity()
    return module


BUILDERS = {"cnn": (convolutional, 32), "vit": (transformer, 64), "attentive": (attentive, 64)}


@FAMILIES.register("tiny")
class Tiny(Family):
    """The family `tiny`."""

    pattern = "tiny:MODEL"
    help = "for tests"

    def models(self) -> tuple[str, ...]:
        return tuple(BUILDERS)

    def spec(self, model: str, folder: Path | None) -> BackboneSpec | None:
        if model not in BUILDERS:
            return None
        return BackboneSpec(
            name=f"tiny:{model}",
            dim=BUILDERS[model][1],
            input_size=32,
            crop_pct=0.8,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            interpolation="bilinear",
            digest="0" * 64,
        )

    def build(self, model: str, folder: Path | None) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return BUILDERS[model][0]().eval()
