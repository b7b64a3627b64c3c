"""Classes and control tags that a label config names otherwise than the labels do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from model.targets.schema import Path
from studio.controls import Control
from studio.items import owns
from studio.regions import StudioRegion


@dataclass(frozen=True)
class ClassRename:
    """A class of a control (by the control's name now): its old and new path from the root."""

    control: str
    old: Path
    new: Path


@dataclass(frozen=True)
class ControlRename:
    """A control tag's old and new name."""

    old: str
    new: str


@dataclass(frozen=True)
class Renames:
    """All renames of a project, applied wherever its annotations are read."""

    classes: tuple[ClassRename, ...] = ()
    controls: tuple[ControlRename, ...] = ()

    @classmethod
    def from_json(cls, json: Mapping[str, Any] | None) -> Renames:
        """Read what `to_json` made."""
        json = json or {}
        return cls(
            tuple(
                ClassRename(each["control"], tuple(each["old"]), tuple(each["new"]))
                for each in json.get("classes", ())
            ),
            tuple(ControlRename(each["old"], each["new"]) for each in json.get("controls", ())),
        )

    def to_json(self) -> dict[str, Any] | None:
        """The renames as JSON; None when there are none."""
        if not self.classes and not self.controls:
            return None
        return {
            "classes": [
                {"control": each.control, "old": list(each.old), "new": list(each.new)}
                for each in self.classes
            ],
            "controls": [{"old": each.old, "new": each.new} for each in self.controls],
        }

    def added(self, rename: ClassRename | ControlRename) -> Renames:
        """With one more, which replaces what the same old name was renamed to.

        What was renamed to its old name before is renamed to its new one now.
        """
        classes, controls = self.without(rename).classes, self.without(rename).controls
        if isinstance(rename, ClassRename):
            here = (rename.control, rename.old)
            followed = [
                replace(each, new=rename.new) if (each.control, each.new) == here else each
                for each in classes
            ]
            return Renames((*followed, rename), controls)
        moved = [
            replace(each, control=rename.new) if each.control == rename.old else each
            for each in classes
        ]
        others = [
            replace(each, new=rename.new) if each.new == rename.old else each for each in controls
        ]
        return Renames(tuple(moved), (*others, rename))

    def without(self, rename: ClassRename | ControlRename) -> Renames:
        """Without what the old name of `rename` was renamed to."""
        if isinstance(rename, ClassRename):
            key = (rename.control, rename.old)
            classes = tuple(each for each in self.classes if (each.control, each.old) != key)
            return Renames(classes, self.controls)
        controls = tuple(each for each in self.controls if each.old != rename.old)
        return Renames(self.classes, controls)

    def apply(
        self, result: Iterable[dict[str, Any]], controls: Sequence[Control] = ()
    ) -> list[StudioRegion]:
        """The regions of a `result`, under the names that the config has now.

        Args:
            controls: the config's, of which some may be repeated.
        """
        regions = map(StudioRegion, result)
        if not self.classes and not self.controls:
            return list(regions)
        return [self._renamed(region, controls) for region in regions]

    def _renamed(self, region: StudioRegion, controls: Sequence[Control]) -> StudioRegion:
        for rename in self.controls:
            name = _renamed_control(region.from_name, rename, controls)
            region = region if name is None else region.renamed(name)
        owners = (control.name for control in controls if owns(control, region))
        owner = next(owners, region.from_name)
        paths = {each.old: each.new for each in self.classes if each.control == owner}
        chosen = region.value.get(region.kind)
        if not paths or not isinstance(chosen, list):
            return region
        value = {**region.value, region.kind: _rename_all(chosen, paths)}
        return StudioRegion(region.json | {"value": value})


def _renamed_control(name: str, rename: ControlRename, controls: Sequence[Control]) -> str | None:
    """A control's new name; None for other controls. A repeated one keeps its index."""
    if name == rename.old:
        return rename.new
    for control in controls:
        if control.name == rename.new and control.repeat is not None:
            index = control.repeat.index_of(name, rename.old)
            if index is not None and rename.old != control.repeat.at(rename.old, index):
                return control.repeat.at(rename.new, index)
    return None


def _rename_all(chosen: list[Any], paths: Mapping[Path, Path]) -> list[Any]:
    """The chosen classes under their new names, each once."""
    renamed = [_rename(each, paths) for each in chosen]
    if renamed == chosen:
        return chosen
    return [each for place, each in enumerate(renamed) if each not in renamed[:place]]


def _rename(chosen: Any, paths: Mapping[Path, Path]) -> Any:
    if isinstance(chosen, str):
        new = paths.get((chosen,), (chosen,))
        return new[0] if len(new) == 1 else list(new)
    if isinstance(chosen, list) and all(isinstance(name, str) for name in chosen):
        return list(paths.get(tuple(chosen), chosen))
    return chosen
