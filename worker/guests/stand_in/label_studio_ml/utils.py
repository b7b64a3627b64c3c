"""Helpers that models import from label-studio-ml."""

from __future__ import annotations

import difflib
from collections import OrderedDict
from typing import Any

DATA_UNDEFINED_NAME = "$undefined$"


def get_single_tag_keys(
    parsed_label_config: dict[str, Any], control_type: str, object_type: str
) -> tuple[str, str, str, list[str]]:
    """(from_name, to_name, data key, labels) of a config with one control of one object."""
    if len(parsed_label_config) != 1:
        raise AssertionError("the label config must have exactly one control tag")
    [(from_name, info)] = parsed_label_config.items()
    [to_name], [shown] = info["to_name"], info["inputs"]
    if info["type"] != control_type or shown["type"] != object_type:
        raise AssertionError(
            f"expected {control_type} of {object_type}, not {info['type']} of {shown['type']}"
        )
    return from_name, to_name, shown["value"], info["labels"]


def get_first_tag_keys(
    parsed_label_config: dict[str, Any], control_type: str, object_type: str
) -> tuple[Any, Any]:
    """(name, info) of the first control of that type on an object of that type; else Nones."""
    for name, info in parsed_label_config.items():
        if info["type"] == control_type and any(
            shown["type"] == object_type for shown in info["inputs"]
        ):
            return name, info
    return None, None


def is_skipped(completion: dict[str, Any]) -> bool:
    """Whether the only annotation of a task was skipped."""
    annotations = completion["annotations"]
    if len(annotations) != 1:
        return False
    return bool(annotations[0].get("skipped") or annotations[0].get("was_cancelled"))


def get_choice(completion: dict[str, Any]) -> Any:
    """The first choice of a task's first annotation."""
    return completion["annotations"][0]["result"][0]["value"]["choices"][0]


def get_image_size(filepath: str) -> tuple[int, int]:
    """(width, height) of an image, turned as its EXIF data say."""
    from PIL import Image, ImageOps

    with Image.open(filepath) as image:
        width, height = ImageOps.exif_transpose(image).size
    return width, height


def match_labels(input: str, labels: list[str]) -> list[str]:  # noqa: A002 - label-studio-ml's name
    """The label that is most like each line of a text."""

    def likeness(line: str, label: str) -> float:
        return difflib.SequenceMatcher(None, line, label).ratio()

    return [max(labels, key=lambda label: likeness(line, label)) for line in input.splitlines()]


class InMemoryLRUDictCache:
    """A cache of the values that were used last."""

    def __init__(self, capacity: int = 1) -> None:
        """Make a cache of that many values."""
        self.capacity = capacity
        self.cache: OrderedDict[Any, Any] = OrderedDict()

    def __contains__(self, item: Any) -> bool:
        """Whether there is a value."""
        return item in self.cache

    def get(self, key: Any) -> Any:
        """The value, or None."""
        if key not in self.cache:
            return None
        self.cache.move_to_end(key)
        return self.cache[key]

    def put(self, key: Any, value: Any) -> None:
        """Keep a value, and drop the one that was used longest ago if there are too many."""
        self.cache[key] = value
        self.cache.move_to_end(key)
        while len(self.cache) > self.capacity:
            self.cache.popitem(last=False)
