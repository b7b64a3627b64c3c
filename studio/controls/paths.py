"""Controls with labels from a tree of classes: `Taxonomy` and nested choices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model.targets.schema import JOIN, ClassName, Path, Paths, Value, most_specific, parents
from studio.controls.base import ImageControl, Regions
from studio.controls.options import offered_paths
from studio.regions import StudioRegion


@dataclass(frozen=True)
class PathControl(ImageControl):
    """A control whose regions hold a list of paths from the root.

    Of a path and what lies above it only the path counts: editors save both when all that lies
    below is chosen, or when an annotator ticks both, and mean the same.
    """

    schema: Paths
    options_value: str | None  # set when tasks bring their own classes
    absent: frozenset[Path] | None
    bulk: bool

    def read(self, regions: Regions) -> frozenset[Path] | None:
        for chosen in self.values(regions):
            if not isinstance(chosen, list):
                continue
            paths = most_specific({path for path in map(_path, chosen) if path is not None})
            valid = frozenset(path for path in paths if self._takes(path))
            if (valid or not chosen) and (self.schema.multiple or len(valid) == 1):
                return valid
        return None

    def write(self, value: Value, score: float) -> list[StudioRegion]:
        if not isinstance(value, frozenset) or not value:
            raise ValueError(f"{self.name} takes a set of at least one path, not {value!r}")
        if unknown := [path for path in value if not self._takes(path)]:
            raise ValueError(f"{self.name} has no choice {unknown[0]!r}")
        if len(value) > 1 and not self.schema.multiple:
            raise ValueError(f"{self.name} takes one choice, not {len(value)}")
        order = {path: place for place, path in enumerate(self.schema.paths)}
        paths = sorted(
            (path for path in value if isinstance(path, tuple)),
            key=lambda path: (order.get(path, len(order)), path),
        )
        return [self.region([list(path) for path in paths], score)]

    def unknown(self, region: StudioRegion) -> tuple[Path, ...]:
        chosen = region.value.get(self.target.kind)
        paths = map(_path, chosen if isinstance(chosen, list) else [])
        return tuple(path for path in paths if path is not None and not self.takes_class(path))

    def path_of(self, name: str) -> Path:
        known = {JOIN.join(path): path for path in self.schema.paths}
        return known.get(name) or tuple(name.split(JOIN))

    def has_class(self, path: Path) -> bool:
        return path in self.schema.paths

    def takes_class(self, path: Path) -> bool:
        return bool(path) and (self.schema.open or self.has_class(path))

    def offered(self, data: Mapping[str, Any], item: int = 0) -> frozenset[ClassName] | None:
        if self.options_value is None:
            return None
        return offered_paths(data, self.options_value, self.repeat, item)

    def _takes(self, path: object) -> bool:
        if self.schema.open:
            return isinstance(path, tuple) and bool(path)
        if path not in self.schema.paths:
            return False
        return not self.schema.leaves_only or path not in parents(self.schema.paths)


def _path(chosen: object) -> Path | None:
    if isinstance(chosen, str):  # as a choice was saved before the config was nested
        return (chosen,)
    if isinstance(chosen, list) and chosen and all(isinstance(name, str) for name in chosen):
        return tuple(chosen)
    return None
