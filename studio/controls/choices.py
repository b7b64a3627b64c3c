"""`Choices` on an image: one class, several, or, with `allowNested`, leaves of a tree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model.targets.schema import ClassName, MultiLabel, Path, Paths, SingleLabel, Value
from studio.controls.base import ControlTarget, ImageControl, NotLearnedError, Regions, Tag
from studio.controls.options import offered_paths
from studio.controls.paths import PathControl
from studio.controls.registry import register
from studio.regions import StudioRegion


@dataclass(frozen=True)
class FlatChoices(ImageControl):
    """Choices without nesting. `options_value` is set when tasks bring their own."""

    options_value: str | None
    schema: SingleLabel | MultiLabel

    def offered(self, data: Mapping[str, Any], item: int = 0) -> frozenset[ClassName] | None:
        if self.options_value is None:
            return None
        paths = offered_paths(data, self.options_value, self.repeat, item)
        return frozenset(path[0] for path in paths)

    def unknown(self, region: StudioRegion) -> tuple[Path, ...]:
        chosen = region.value.get(self.target.kind)
        names = [name for name in _listed(chosen) if isinstance(name, str)]
        return tuple((name,) for name in names if not self.takes_class((name,)))

    def has_class(self, path: Path) -> bool:
        return len(path) == 1 and path[0] in self.schema.classes

    def takes_class(self, path: Path) -> bool:
        return len(path) == 1 and _known(self.schema, path[0])


@dataclass(frozen=True)
class SingleChoice(FlatChoices):
    """A `Choices` tag with one choice an annotation."""

    schema: SingleLabel
    absent: None = None
    bulk: bool = True

    def read(self, regions: Regions) -> str | None:
        for chosen in self.values(regions):
            # More than one is left from a time when the config allowed several.
            if isinstance(chosen, list) and len(chosen) == 1 and _known(self.schema, chosen[0]):
                return str(chosen[0])
        return None

    def write(self, value: Value, score: float) -> list[StudioRegion]:
        if not _known(self.schema, value):
            raise ValueError(f"{self.name} has no choice {value!r}")
        return [self.region([value], score)]


@dataclass(frozen=True)
class MultipleChoice(FlatChoices):
    """A `Choices` tag with any number of choices an annotation."""

    schema: MultiLabel
    absent: frozenset[str] | None
    bulk: bool

    def read(self, regions: Regions) -> frozenset[str] | None:
        for chosen in self.values(regions):
            if not isinstance(chosen, list):
                continue
            names = frozenset(name for name in chosen if _known(self.schema, name))
            # When all that was chosen is gone from the config, nothing is known of the rest either.
            if names or not chosen:
                return names
        return None

    def write(self, value: Value, score: float) -> list[StudioRegion]:
        if not isinstance(value, frozenset) or not value:
            raise ValueError(f"{self.name} takes a set of at least one choice, not {value!r}")
        if unknown := [name for name in value if not _known(self.schema, name)]:
            raise ValueError(f"{self.name} has no choice {unknown[0]!r}")
        order = {name: place for place, name in enumerate(self.schema.classes)}
        names = sorted(map(str, value), key=lambda name: (order.get(name, len(order)), name))
        return [self.region(names, score)]


def _listed(chosen: object) -> list[Any]:
    return chosen if isinstance(chosen, list) else []


def _known(schema: SingleLabel | MultiLabel, name: object) -> bool:
    return isinstance(name, str) and bool(name) and (schema.open or name in schema.classes)


@register("Choices")
def choices(tag: Tag) -> SingleChoice | MultipleChoice | PathControl:
    """A control for choices on one image. Raises NotLearnedError for those that are not learned."""
    target = ControlTarget.of(tag)
    if tag.variable:
        raise NotLearnedError("a choice whose own value comes from a task's data is not learned")
    if tag.get("apiUrl"):
        raise NotLearnedError("choices that come from another server are not learned")
    if not tag.paths and tag.options_value is None:
        raise NotLearnedError("it has no choices")
    multiple = tag.get("choice", "single").strip().lower() == "multiple"
    comes_with_tasks = tag.options_value is not None
    empty = frozenset[Any]() if multiple and tag.always_shown else None
    if tag.flag("allowNested"):
        schema = Paths(tag.paths, multiple, leaves_only=True, open=comes_with_tasks)
        return PathControl(target, schema, tag.options_value, empty, bulk=False)
    # The bulk import looks at the config's own classes alone, if there are any.
    bulk = not (tag.paths and comes_with_tasks)
    # Without allowNested the editor shows and saves the uppermost choices only.
    classes = tuple(path[0] for path in tag.paths if len(path) == 1)
    if multiple:
        of_any = MultiLabel(classes, open=comes_with_tasks)
        return MultipleChoice(target, tag.options_value, of_any, empty, bulk)
    of_one = SingleLabel(classes, open=comes_with_tasks)
    return SingleChoice(target, tag.options_value, of_one, bulk=bulk)
