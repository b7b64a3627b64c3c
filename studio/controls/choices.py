"""`Choices` on an image, one class an image: image classification."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model.targets import SingleLabel
from studio.controls import NotLearnedError, Tag, register


@dataclass(frozen=True)
class SingleChoice:
    """A `Choices` tag of which one choice is taken."""

    name: str
    to_name: str
    value_key: str
    schema: SingleLabel

    def read(self, results: Sequence[Mapping[str, Any]]) -> str | None:
        for region in results:
            if region.get("from_name") != self.name or region.get("type") != "choices":
                continue
            value = region.get("value")
            chosen = value.get("choices") if isinstance(value, dict) else None
            # More than one is left from a time when the config allowed several.
            if isinstance(chosen, list) and len(chosen) == 1 and chosen[0] in self.schema.classes:
                return str(chosen[0])
        return None

    def write(self, class_name: str, score: float) -> dict[str, Any]:
        if class_name not in self.schema.classes:
            raise ValueError(f"{self.name} has no choice {class_name!r}")
        if not (math.isfinite(score) and 0.0 <= score <= 1.0):
            raise ValueError(f"a score must be in 0..1, not {score}")
        return {
            "from_name": self.name,
            "to_name": self.to_name,
            "type": "choices",
            "value": {"choices": [class_name]},
            "score": round(score, 6),
        }

    def image(self, data: Mapping[str, Any]) -> str | None:
        value = data.get(self.value_key)
        return value if isinstance(value, str) and value.strip() else None


@register("Choices")
def single_choice(tag: Tag) -> SingleChoice:
    """A control for single, flat, fixed choices on one image. Raises NotLearnedError for others."""
    attributes = tag.attributes
    if attributes.get("choice", "single").lower() == "multiple":
        raise NotLearnedError('choice="multiple" is not learned yet: only one choice an image')
    if attributes.get("perRegion", "").lower() == "true":
        raise NotLearnedError("choices for single regions are not learned, only for whole images")
    if attributes.get("perItem", "").lower() == "true" or "valueList" in tag.image_attributes:
        raise NotLearnedError("several images in a task are not learned, only one")
    if tag.nested:
        raise NotLearnedError("nested choices are not learned, only flat ones")
    if tag.dynamic:
        raise NotLearnedError(
            "choices that come from a task's data are not learned, only fixed ones"
        )
    if not tag.image_value.startswith("$") or len(tag.image_value) == 1:
        raise NotLearnedError('its image has no value of the form "$image"')
    if not tag.classes:
        raise NotLearnedError("it has no choices")
    return SingleChoice(tag.name, tag.to_name, tag.image_value[1:], SingleLabel(tag.classes))
