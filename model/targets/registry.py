"""From a head's outputs to labels: one module for each form of learning.

Numpy alone: the web process answers with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.heads import Head
from model.heads.number import NumberHead
from model.targets.encoding import names_in, value_of
from model.targets.learned import NOTHING, Answer, Learned, Offers
from model.targets.losses import losses
from model.targets.multi import CalibratedLabels
from model.targets.number import INTERVAL_LEVEL, CalibratedNumber, nearest, tolerance_of
from model.targets.schema import TargetSchema, Value
from model.targets.single import CalibratedHead


def load(form: str, head: Head, settings: Mapping[str, Any]) -> Learned:
    """What gave these settings. Raises ValueError for a form that is not known."""
    if form == "single":
        return CalibratedHead(head, float(settings["temperature"]))
    if form == "multi":
        return CalibratedLabels(head, float(settings["temperature"]), bool(settings["tree"]))
    if form == "number" and isinstance(head, NumberHead):
        return CalibratedNumber(head, float(settings["tolerance"]))
    raise ValueError(f"A head of kind {head.kind} can't be learned as {form!r}.")


def pack(learned: Learned, values: Sequence[Value]) -> NDArray[Any]:
    """Labels [M] that `learned` gave as an array: [M] numbers or indices, [M, C] of 0 and 1."""
    if learned.form == "number":
        return np.array(values, np.float64)
    code = {name: index for index, name in enumerate(learned.head.classes)}
    if learned.form == "single":
        names = [names_in(value, "single")[0] for value in values]
        return np.array([code[name] for name in names], np.int64)
    there = np.zeros((len(values), len(code)), np.uint8)
    for row, value in enumerate(values):
        there[row, [code[name] for name in names_in(value, "multi") if name in code]] = 1
    return there


def unpack(learned: Learned, packed: NDArray[Any], target: TargetSchema) -> list[Value]:
    """The labels again."""
    if learned.form == "number":
        return [float(value) for value in packed]
    classes = learned.head.classes
    if learned.form == "single":
        return [value_of([classes[index]], target) for index in packed]
    return [value_of([classes[i] for i in np.flatnonzero(row)], target) for row in packed]


__all__ = [
    "INTERVAL_LEVEL",
    "NOTHING",
    "Answer",
    "CalibratedHead",
    "CalibratedLabels",
    "CalibratedNumber",
    "Learned",
    "Offers",
    "load",
    "losses",
    "nearest",
    "pack",
    "tolerance_of",
    "unpack",
]
