"""A project's label config: the controls that are learned, and why others are not."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from studio.controls import Control, NotLearnedError, known_tags, make
from studio.items import owns
from studio.label_xml import SkippedControl, UnusableConfigError, read_tags
from studio.regions import StudioRegion
from studio.renames import ClassRename, Renames

__all__ = ["LabelConfig", "SkippedControl", "parse_label_config"]


NO_RENAMES = Renames()


@dataclass(frozen=True)
class LabelConfig:
    """The learned controls of a label config. `reason` says why there are none, else it is None."""

    controls: tuple[Control, ...]
    skipped: tuple[SkippedControl, ...] = ()
    reason: str | None = None
    renames: Renames = NO_RENAMES
    aliases: tuple[ClassRename, ...] = ()  # of choices that have one, from their values

    def regions(self, result: Iterable[dict[str, Any]]) -> list[StudioRegion]:
        """The regions of an annotation's `result`, under the names that the config has now."""
        return self.renames.apply(result, self.controls)

    def control(self, name: str) -> Control | None:
        """The learned control of that name."""
        return next((control for control in self.controls if control.name == name), None)

    @property
    def reads_task_data(self) -> bool:
        """Whether a task's data determines its choices."""
        return any(control.offered({}) is not None for control in self.controls)

    def bulk(self, regions: Sequence[StudioRegion]) -> bool:
        """Whether Label Studio takes a prediction of these regions in its bulk import.

        It drops those of repeated controls, whose names its label config doesn't spell out.
        """
        single = [each for each in self.controls if each.repeat is not None or not each.bulk]
        return not any(owns(control, region) for control in single for region in regions)

    @property
    def multi_image(self) -> bool:
        """Whether a task has a list of images."""
        return any(control.multi_image for control in self.controls)

    def at(self, *, whole: bool) -> LabelConfig:
        """The controls of all images of a task together (`whole`), or of each image."""
        if not self.multi_image:
            return self
        controls = tuple(control for control in self.controls if control.per_item != whole)
        return replace(self, controls=controls)

    def images(self, data: Mapping[str, Any]) -> tuple[str | None, ...]:
        """The URIs of the images in a task's data that all controls label; at least one entry.

        None for an image that isn't there.
        """
        return self.controls[0].images(data) if self.controls else (None,)


@functools.lru_cache(maxsize=64)
def parse_label_config(xml: str, renames: Renames = NO_RENAMES) -> LabelConfig:
    """Read a label config. Never raises: what can't be read becomes a reason.

    Args:
        renames: of what labels name otherwise than the config.
    """
    try:
        tags, skipped = read_tags(xml)
    except UnusableConfigError as exc:
        return LabelConfig(controls=(), reason=str(exc), renames=renames)
    controls: list[Control] = []
    for tag in tags:
        try:
            control = make(tag)
        except NotLearnedError as exc:
            skipped.append(SkippedControl(tag.name, tag.tag, str(exc)))
            continue
        if controls and _shown_by(control) != _shown_by(controls[0]):
            why = f"it labels another image of the task than {controls[0].name!r}"
            skipped.append(SkippedControl(tag.name, tag.tag, why))
        else:
            controls.append(control)
    reason = None if controls else _why_nothing(skipped)
    aliases = tuple(
        ClassRename(tag.name, old, new) for tag in tags for old, new in tag.spellings.items()
    )
    return LabelConfig(tuple(controls), tuple(skipped), reason, renames, aliases)


def _shown_by(control: Control) -> tuple[str, bool, str]:
    """The images of a task that a control labels."""
    if control.repeat is None:
        return control.image_value, control.multi_image, ""
    return control.repeat.at(control.image_value, 0), True, control.repeat.on


def _why_nothing(skipped: list[SkippedControl]) -> str:
    if not skipped:
        return f"the label config has no tag that is learned: {', '.join(known_tags())}"
    return "nothing in the label config is learned. " + "; ".join(map(str, skipped))


@functools.lru_cache(maxsize=64)
def control_names(xml: str) -> frozenset[str]:
    """The names of all control tags of a label config, learned or not, of images or not."""
    from lxml import etree

    try:
        root = etree.fromstring(xml.encode())
    except (etree.XMLSyntaxError, ValueError):
        return frozenset()
    tags = root.iter(etree.Element)
    return frozenset(str(tag.get("name")) for tag in tags if tag.get("name") and tag.get("toName"))
