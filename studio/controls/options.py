"""Choices that a task's own data brings along: `value="$options"`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from model.targets.schema import Path
from studio.controls.repeat import Repeat
from studio.task_values import read_value

MOST_OPTIONS = 10_000  # of one task that are looked at
DEEPEST = 20  # levels


def offered_paths(
    data: Mapping[str, Any], value: str, repeat: Repeat | None, item: int
) -> frozenset[Path]:
    """The choices that a task's data bring for an image, as paths from the root.

    Label Studio takes a list of objects with `value`, perhaps `alias` and `children`; anything else
    brings none.

    Args:
        value: where the data hold them, such as "$options".
        repeat: the Repeater around the control.
        item: the index of the image.
    """
    paths: set[Path] = set()
    for path in _walk(read_value(repeat.at(value, item) if repeat else value, data), ()):
        paths.add(path)
        if len(paths) == MOST_OPTIONS:
            break
    return frozenset(paths)


def _walk(options: Any, above: Path) -> Iterator[Path]:
    if not isinstance(options, list) or len(above) == DEEPEST:
        return
    for option in options:
        if isinstance(option, str):
            yield (*above, option)
        elif isinstance(option, Mapping):
            name = option.get("alias") or option.get("value")
            if isinstance(name, str):
                path = (*above, name)
                yield path
                yield from _walk(option.get("children"), path)
