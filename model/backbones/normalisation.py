"""Input normalisation of model files that don't state it themselves."""

import difflib
from dataclasses import dataclass

from model.backbones.registry import UnknownBackboneError

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of RGB in [0, 1], as in `BackboneSpec`, and the channel order."""

    mean: Channels
    std: Channels
    bgr: bool = False  # the network's channel order is BGR


def _same(value: float) -> Channels:
    return value, value, value


# The values of the option `range`. "caffe": bytes minus ImageNet's means, in BGR;
# "imagenet": as torchvision's models read them.
RANGES = {
    "0..1": Normalisation(_same(0.0), _same(1.0)),
    "0..255": Normalisation(_same(0.0), _same(1 / 255)),
    "-1..1": Normalisation(_same(0.5), _same(0.5)),
    "imagenet": Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "caffe": Normalisation((123.68 / 255, 116.779 / 255, 103.939 / 255), _same(1 / 255), bgr=True),
}


def normalisation_option(options: dict[str, str], default: Normalisation) -> Normalisation:
    """Return the normalisation of the option `range`. Raises UnknownBackboneError."""
    name = options.get("range")
    if name is None:
        return default
    if name not in RANGES:
        near = difflib.get_close_matches(name, RANGES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(RANGES)}."
        raise UnknownBackboneError(f"No range is called {name!r}: {hint}")
    return RANGES[name]
