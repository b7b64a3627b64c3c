"""Regions: the items of an annotation's or a prediction's `result`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class StudioRegion:
    """One region, as Label Studio has it: which control says what of which image.

    It wraps the JSON object, so that keys unknown here are kept, and reading and writing cost
    nothing. A property of a type that no region has counts as absent.
    """

    json: dict[str, Any]

    @classmethod
    def from_json(cls, json: dict[str, Any]) -> StudioRegion:
        """Wrap Label Studio's JSON, which must not be changed afterwards."""
        return cls(json)

    @classmethod
    def new(
        cls,
        *,
        from_name: str,
        to_name: str,
        kind: str,
        value: Mapping[str, Any],
        score: float | None = None,
    ) -> StudioRegion:
        """Make a region: a prediction's has a score, a person's has none.

        Raises ValueError for a score outside of [0, 1].
        """
        json = {"from_name": from_name, "to_name": to_name, "type": kind, "value": value}
        if score is None:
            return cls(json)
        if not (math.isfinite(score) and 0.0 <= score <= 1.0):
            raise ValueError(f"a score must be in 0..1, not {score}")
        return cls(json | {"score": round(score, 6)})

    def to_json(self) -> dict[str, Any]:
        """Label Studio's JSON, which must not be changed."""
        return self.json

    @property
    def from_name(self) -> str:
        """The name of the control tag that it belongs to."""
        name = self.json.get("from_name")
        return name if isinstance(name, str) else ""

    @property
    def kind(self) -> str:
        """Its type, such as "choices"."""
        kind = self.json.get("type")
        return kind if isinstance(kind, str) else ""

    @property
    def value(self) -> Mapping[str, Any]:
        """What it says, such as `{"choices": ["cat"]}`."""
        value = self.json.get("value")
        return value if isinstance(value, dict) else {}

    @property
    def item(self) -> int | None:
        """Which of the task's images it speaks of, from 0; None for an index that is none.

        Label Studio's editor writes `item_index` for the first image too; where it is missing all
        the same, the first is meant.
        """
        index = self.json.get("item_index")
        if index is None:
            return 0
        return index if type(index) is int and index >= 0 else None

    def at_item(self, item: int) -> StudioRegion:
        """The same region, of the image with this index."""
        return StudioRegion(self.json | {"item_index": item})


def regions_from_json(result: Iterable[dict[str, Any]]) -> list[StudioRegion]:
    """Read a `result`."""
    return [StudioRegion(json) for json in result]


def regions_to_json(regions: Iterable[StudioRegion]) -> list[dict[str, Any]]:
    """Make a `result`."""
    return [region.json for region in regions]
