"""Heads: from embeddings to logits. A kind of head is one file here, registered in `HEADS`.

Fitting needs scikit-learn, scipy and threadpoolctl; applying a head, numpy alone.
"""

from model.heads.fit_heads import (
    choose_kind,
    fit,
    fit_each,
    fit_labels,
    fit_number,
    head_from_arrays,
)
from model.heads.number import NumberHead
from model.heads.registry import HEADS, FitData, Head

__all__ = [
    "HEADS",
    "FitData",
    "Head",
    "NumberHead",
    "choose_kind",
    "fit",
    "fit_each",
    "fit_labels",
    "fit_number",
    "head_from_arrays",
]
