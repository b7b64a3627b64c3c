"""How pixels become a network's input, for files of models that don't say it themselves."""

import difflib
from dataclasses import dataclass

from model.backbones.registry import UnknownBackboneError

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class Pixels:
    """What is subtracted from RGB in [0, 1] and what divides the rest, as in `BackboneSpec`."""

    mean: Channels
    std: Channels
    bgr: bool = False  # the network reads blue first


def _same(value: float) -> Channels:
    return value, value, value


# The values of the option `range`. "caffe": bytes less ImageNet's means, blue first;
# "imagenet": as torchvision's models read them.
RANGES = {
    "0..1": Pixels(_same(0.0), _same(1.0)),
    "0..255": Pixels(_same(0.0), _same(1 / 255)),
    "-1..1": Pixels(_same(0.5), _same(0.5)),
    "imagenet": Pixels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "caffe": Pixels((123.68 / 255, 116.779 / 255, 103.939 / 255), _same(1 / 255), bgr=True),
}


def pixels_option(options: dict[str, str], default: Pixels) -> Pixels:
    """What the option `range` says. Raises UnknownBackboneError."""
    asked = options.get("range")
    if asked is None:
        return default
    if asked not in RANGES:
        near = difflib.get_close_matches(asked, RANGES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(RANGES)}."
        raise UnknownBackboneError(f"No range is called {asked!r}: {hint}")
    return RANGES[asked]
