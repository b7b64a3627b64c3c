"""A family of backbones with random weights: `small:a`, `small:b`. Imported where it is used.

`small:deaf` embeds like the others; whoever asks it for gradients never hears of it again. The
others take SMALL_STEP_SECONDS (environment) longer for each batch with gradients, so that a test
can look on while they are trained.
"""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from model.backbones import BackboneSpec
from model.backbones.registry import FAMILIES

DIM = 16


class Deaf(torch.nn.Module):
    """Is lost in a computation, with a process that it started, once gradients are wanted."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        while torch.is_grad_enabled():
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
            time.sleep(3600)
        return x


class Slow(torch.nn.Module):
    """The identity, which waits where gradients are wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = float(os.environ.get("SMALL_STEP_SECONDS", "0"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.seconds and torch.is_grad_enabled():
            time.sleep(self.seconds)
        return x


@FAMILIES.register("small")
class Small:
    """Two layers of convolution; they differ in their weights."""

    pattern = "small:MODEL"

    def models(self) -> tuple[str, ...]:
        return ("a", "b", "d", "deaf")

    def spec(self, model: str, folder: Path | None) -> BackboneSpec | None:
        if model not in self.models():
            return None
        return BackboneSpec(
            name=f"small:{model}",
            dim=DIM,
            input_size=32,
            crop_pct=1.0,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            interpolation="bilinear",
            digest=hashlib.sha256(model.encode()).hexdigest(),
        )

    def build(self, model: str, folder: Path | None) -> torch.nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(ord(model[0]))
            return torch.nn.Sequential(
                Deaf() if model == "deaf" else Slow(),
                torch.nn.Conv2d(3, 8, 3, stride=2),
                torch.nn.BatchNorm2d(8),
                torch.nn.ReLU(),
                torch.nn.Conv2d(8, DIM, 3, stride=2),
                torch.nn.AdaptiveAvgPool2d(1),
                torch.nn.Flatten(),
            ).eval()
