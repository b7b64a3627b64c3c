"""Fits the initial head layers on the pretrained features, the first half of LP-FT.

Kumar et al., Fine-Tuning can Distort Pretrained Features, ICLR 2022: the gradients of a random head
would distort the features first.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from model.arrays import Bools, Float32s
from model.finetuning.network.network import HeadLayer
from model.finetuning.options import Target
from model.finetuning.results import CannotFinetuneError
from model.heads import Head
from model.heads.linear import LinearHead


def initial_head_layers(
    targets: Sequence[Target],
    features: Float32s,
    training: Bools,
    heads: Mapping[str, Head],
    *,
    seed: int,
) -> dict[str, HeadLayer]:
    """Return {target: layer} of heads fitted on the `training` rows [N] of `features` [N, D].

    A head in `heads` that fits is taken instead.

    Raises:
        CannotFinetuneError: all labels are equal.
    """
    layers = {}
    any_differ = False
    for target in targets:
        y, rows = np.asarray(target.y), training & target.labelled()
        any_differ |= target.loss.distinct(y[rows]) > 1
        given = heads.get(target.name)
        if target.loss.accepts(given, target.classes, features.shape[1]):
            assert isinstance(given, LinearHead), "it fits"
            layers[target.name] = HeadLayer.of(given)
        else:
            head = target.loss.initial_head(features, y, rows, target.classes, seed=seed)
            layers[target.name] = HeadLayer.of(head)
    if not any_differ:
        raise CannotFinetuneError(
            "Fine-tuning needs images of at least two different answers: label some more."
        )
    return layers
