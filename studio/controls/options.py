"""Choices that a task's own data brings along: `value="$options"`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from model.targets.schema import Path

MOST_OPTIONS = 10_000  # of one task that are looked at
DEEPEST = 20  # levels


def offered_paths(data: Mapping[str, Any], key: str) -> frozenset[Path]:
    """The choices under `key` of a task's data, as paths from the root; none if malformed.

    Label Studio takes a list of objects with `value`, perhaps `alias` and `children`.
    """
    paths: set[Path] = set()
    for path in _walk(data.get(key), ()):
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
