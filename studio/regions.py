"""Regions: the items of an annotation's or a prediction's `result`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class StudioRegion:
    """A region: the value of one control, for an image or a part of it.

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
        from_name: str,
        to_name: str,
        kind: str,
        value: Mapping[str, Any],
        score: float | None = None,
    ) -> StudioRegion:
        """Make a region: a prediction's has a score, a person's has none.

        Raises ValueError for a score outside of [0, 1].
        """
        json: dict[str, Any] = {
            "from_name": from_name,
            "to_name": to_name,
            "type": kind,
            "value": value,
        }
        if score is not None:
            if not 0.0 <= score <= 1.0:  # nor NaN
                raise ValueError(f"a score must be in 0..1, not {score}")
            json["score"] = round(score, 6)
        return cls(json)

    def to_json(self) -> dict[str, Any]:
        """Label Studio's JSON, which must not be changed."""
        return self.json

    @property
    def from_name(self) -> str:
        """The name of its control tag."""
        name = self.json.get("from_name")
        return name if isinstance(name, str) else ""

    @property
    def kind(self) -> str:
        """Its type, such as "choices"."""
        kind = self.json.get("type")
        return kind if isinstance(kind, str) else ""

    @property
    def value(self) -> Mapping[str, Any]:
        """Its value, such as `{"choices": ["cat"]}`."""
        value = self.json.get("value")
        return value if isinstance(value, dict) else {}

    @property
    def item(self) -> int | None:
        """The index of its image in the task, from 0; None for an impossible index.

        Label Studio's editor writes `item_index` for the first image too; where it is missing all
        the same, the first is meant.
        """
        index = self.json.get("item_index")
        if index is None:
            return 0
        return index if type(index) is int and index >= 0 else None

    def renamed(self, from_name: str, to_name: str | None = None) -> StudioRegion:
        """The same region, of the control with this name, for this object or the same."""
        named = {"from_name": from_name}
        return StudioRegion(self.json | named | ({"to_name": to_name} if to_name else {}))

    def at_item(self, item: int) -> StudioRegion:
        """The same region, of the image with this index."""
        return StudioRegion(self.json | {"item_index": item})


def regions_from_json(result: Iterable[dict[str, Any]]) -> list[StudioRegion]:
    """Wrap the regions of a `result`."""
    return [StudioRegion(json) for json in result]


def regions_to_json(regions: Iterable[StudioRegion]) -> list[dict[str, Any]]:
    """Unwrap regions into a `result`."""
    return [region.json for region in regions]
