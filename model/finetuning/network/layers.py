"""Chooses which layers of a backbone are trained, and their learning rates."""

import re
from typing import Any

from torch import nn

from model.finetuning.network import lora
from model.finetuning.network.network import Network
from model.finetuning.options import Method, Options
from model.finetuning.results import CannotFinetuneError

# Below this many labels a transformer gets adapters, and a convolutional net its last blocks.
LORA_LABELS = 1000
LAST_LABELS = 100

# The share of the layers, from the image on, that stays as it is.
FROZEN_SHARE = {"full": 0.0, "stages": 0.4, "last": 0.75}
LEARNING_RATES = {"full": 3e-4, "stages": 3e-4, "last": 3e-4, "lora": 1e-3}
TRANSFORMER_RATE = 5e-5  # where all of a transformer is trained
# A convolutional net far from its pretraining needs other edges and textures, not only other sums.
TRANSFORMER_DECAY, CONVOLUTIONAL_DECAY = 0.75, 0.95
DEPTH_UNIT = 12  # blocks that `Options.layer_decay` is meant for, as in ViT-B


def is_transformer(backbone: nn.Module) -> bool:
    """Whether most of the weights are matrices, not convolution kernels."""
    matrices = sum(m.weight.numel() for m in backbone.modules() if isinstance(m, nn.Linear))
    attention = sum(
        p.numel()
        for m in backbone.modules()
        if isinstance(m, nn.MultiheadAttention)
        for p in m.parameters(recurse=False)
    )
    norms = any(isinstance(m, nn.LayerNorm) for m in backbone.modules())
    return norms and 2 * (matrices + attention) > sum(p.numel() for p in backbone.parameters())


def choose_method(method: Method, backbone: nn.Module, labels: int) -> Method:
    """Return the method; "auto" depends on the backbone and the number of labelled images."""
    if method == "lora" and not lora.adaptable_weights(backbone):
        raise CannotFinetuneError(
            "This backbone has no matrices that adapters (LoRA) suit: choose the method full, "
            "stages or last."
        )
    if method != "auto":
        return method
    if is_transformer(backbone):
        return "lora" if labels < LORA_LABELS and lora.adaptable_weights(backbone) else "full"
    return "last" if labels < LAST_LABELS else "full"


def layer_groups(backbone: nn.Module) -> list[list[str]]:
    """Group the names of parameters by layer, in the order of the module's definition.

    A layer's name is the part before a number and the numbers after it: "blocks.3.1", "layer2.0",
    "features.12", "conv1".
    """
    groups: dict[str, list[str]] = {}
    for name, _ in backbone.named_parameters():
        layer_name = re.match(r"(?:[^.]*?\.)*?[^.]*\d[^.]*(?:\.\d+)?(?=\.)|[^.]+", name)
        assert layer_name is not None, "every name has a first part"
        groups.setdefault(layer_name[0], []).append(name)
    return list(groups.values())


def freeze(backbone: nn.Module, method: Method) -> None:
    """Freeze all but the layers that the method trains.

    Raises CannotFinetuneError when the backbone has no weights.
    """
    if not any(True for _ in backbone.parameters()):
        raise CannotFinetuneError("This backbone can't be fine-tuned: it has no weights to train.")
    if method == "lora":
        lora.add_adapters(backbone)
        return
    groups = layer_groups(backbone)
    frozen = {name for group in groups[: int(FROZEN_SHARE[method] * len(groups))] for name in group}
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(name not in frozen)


def learning_rate(options: Options, backbone: nn.Module, method: Method) -> float:
    """Return the learning rate of the layers next to the head."""
    if options.learning_rate is not None:
        return options.learning_rate
    if method != "lora" and is_transformer(backbone):
        return TRANSFORMER_RATE
    return LEARNING_RATES[method]


def parameter_groups(network: Network, rate: float, options: Options) -> list[dict[str, Any]]:
    """Make AdamW's parameter groups: a rate each, weight decay for matrices and kernels alone.

    The rate falls with the distance from the head (layer-wise decay; Clark et al., ELECTRA, 2020),
    for any depth as much over the whole of it as over the twelve blocks of a ViT-B. Adapters all
    have the same.
    """
    groups = layer_groups(network.backbone)
    depth = {name: index for index, group in enumerate(groups) for name in group}
    last = max(len(groups) - 1, 1)
    decay = options.layer_decay
    if decay is None:
        decay = TRANSFORMER_DECAY if is_transformer(network.backbone) else CONVOLUTIONAL_DECAY
    groups_of_adamw = []
    for name, parameter in network.backbone.named_parameters():
        if parameter.requires_grad:
            adapter = ".parametrizations." in f".{name}"
            distance = 0.0 if adapter else DEPTH_UNIT * (last - depth[name]) / last
            groups_of_adamw.append(_group(parameter, rate * decay**distance, options))
    groups_of_adamw += [_group(p, options.head_rate, options) for p in network.heads.parameters()]
    return groups_of_adamw


def _group(parameter: nn.Parameter, rate: float, options: Options) -> dict[str, Any]:
    decay = options.weight_decay if parameter.ndim > 1 else 0.0
    return {"params": [parameter], "peak": rate, "lr": rate, "weight_decay": decay}
