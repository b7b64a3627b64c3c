"""Splits long lists of ids, as databases limit the parameters of one statement."""

from collections.abc import Collection, Iterable
from typing import TypeVar

CHUNK = 500  # ids in one IN (…), below every database's limit on parameters

T = TypeVar("T")


def chunks(ids: Collection[T]) -> Iterable[list[T]]:
    """`ids` in lists that fit one statement."""
    listed = list(ids)
    return (listed[i : i + CHUNK] for i in range(0, len(listed), CHUNK))
