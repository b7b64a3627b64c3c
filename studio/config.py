"""Reads a project's label config: the controls that are learned, and why others are not.

The SDK's `parse_config` does the reading (30 ms to import, where its `LabelInterface` takes half a
second and 40 MB, and raises on tags that it does not know); what it leaves out, the tags' own
attributes, is looked up in the same XML.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from model.targets.schema import Path
from studio.controls import Control, NotLearnedError, Tag, known_tags, make
from studio.regions import StudioRegion


@dataclass(frozen=True)
class SkippedControl:
    """A control tag that is not learned, with the reason."""

    name: str
    tag: str
    reason: str

    def __str__(self) -> str:
        return f"{self.tag} {self.name!r}: {self.reason}"


@dataclass(frozen=True)
class LabelConfig:
    """The learned controls of a label config. `reason` says why there are none, else it is None."""

    controls: tuple[Control, ...]
    skipped: tuple[SkippedControl, ...] = ()
    reason: str | None = None

    def control(self, name: str) -> Control | None:
        """The learned control of that name."""
        return next((control for control in self.controls if control.name == name), None)

    @property
    def reads_task_data(self) -> bool:
        """Whether a task's data determines its choices."""
        return any(control.offered({}) is not None for control in self.controls)

    def bulk(self, regions: Sequence[StudioRegion]) -> bool:
        """Whether Label Studio takes a prediction of these regions in its bulk import."""
        single = {control.name for control in self.controls if not control.bulk}
        return all(region.from_name not in single for region in regions)

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
def parse_label_config(xml: str) -> LabelConfig:
    """Read a label config. Never raises: what can't be read becomes a reason."""
    try:
        tags, skipped = _tags(xml)
    except _UnusableConfigError as exc:
        return LabelConfig(controls=(), reason=str(exc))
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
    return LabelConfig(tuple(controls), tuple(skipped), reason)


def _shown_by(control: Control) -> tuple[str, bool]:
    """The images of a task that a control labels."""
    return control.value_key, control.multi_image


class _UnusableConfigError(Exception):
    pass


def _tags(xml: str) -> tuple[list[Tag], list[SkippedControl]]:
    """The control tags that label one image, in the config's order, and the other control tags."""
    if not xml.strip():
        raise _UnusableConfigError("the project has no label config yet")
    # Imported here: a process that parses no config needs neither lxml nor the SDK.
    from label_studio_sdk._extensions.label_studio_tools.core import label_config
    from lxml import etree

    parse_config: Any = label_config.parse_config
    try:
        outputs = parse_config(xml.encode())
        root = etree.fromstring(xml.encode())
    except Exception as exc:
        # The parser raises its own error on broken XML, and KeyError, ValueError and others on
        # configs that a project should never have.
        raise _UnusableConfigError(f"the label config can't be read: {exc}"[:300]) from exc
    elements = {
        element.get("name"): element for element in root.iter(etree.Element) if element.get("name")
    }
    images = {name for name, element in elements.items() if element.tag == "Image"}
    if not images:
        raise _UnusableConfigError(
            "the label config shows no image: only labels of images are learned"
        )
    tags: list[Tag] = []
    skipped: list[SkippedControl] = []
    for name, output in outputs.items():
        to_names = [to_name.strip() for to_name in output["to_name"]]
        kind = str(output["type"])
        if len(to_names) == 1 and to_names[0] in images:
            tags.append(_tag(elements[name], name, elements[to_names[0]], output))
        elif images.intersection(to_names):
            skipped.append(SkippedControl(name, kind, "it labels several objects at once"))
        else:
            skipped.append(SkippedControl(name, kind, "it labels no image"))
    return tags, skipped


def _tag(element: Any, name: str, image: Any, output: dict[str, Any]) -> Tag:
    choices = [choice for choice in element.iter("Choice") if _class(choice)]
    return Tag(
        tag=str(output["type"]),
        name=name,
        to_name=image.get("name"),
        attributes=dict(element.attrib),
        paths=tuple(dict.fromkeys(_path(choice) for choice in choices)),
        image_value=image.get("valueList", image.get("value", "")),
        variable=any(choice.get("value", "").startswith("$") for choice in choices),
        image_attributes=dict(image.attrib),
    )


def _class(choice: Any) -> str:
    """The name of a choice in results."""
    return choice.get("alias") or choice.get("value") or ""


def _path(choice: Any) -> Path:
    """A choice from the root: the choices around it, and itself."""
    above = reversed(list(choice.iterancestors("Choice")))
    return tuple(_class(each) for each in (*above, choice) if _class(each))


def _why_nothing(skipped: list[SkippedControl]) -> str:
    if not skipped:
        return f"the label config has no tag that is learned: {', '.join(known_tags())}"
    return "nothing in the label config is learned. " + "; ".join(map(str, skipped))
