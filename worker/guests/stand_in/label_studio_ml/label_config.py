"""Reads a label config: its control tags with the objects that they label, and their labels."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import Any, Callable, Iterable  # noqa: UP035 - collections.abc's are newer than 3.8


@dataclass
class Tag:
    """A tag with a name: an object that is shown, or a control that labels objects."""

    tag: str
    name: str
    attr: dict[str, str]
    to_name: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    labels_attrs: dict[str, Tag] = field(default_factory=dict)

    @property
    def value_name(self) -> str:
        """The key of a task's data that an object shows."""
        return (self.attr.get("value") or self.attr.get("valueList") or "").lstrip("$")

    @property
    def value(self) -> str:
        """The tag's attribute `value`."""
        return self.attr.get("value", "")


class LabelInterface:
    """A label config, with the parts of `label_studio_sdk`'s class that models use most."""

    def __init__(self, config: str) -> None:
        """Read the XML. Raises ValueError when it is broken."""
        try:
            root = ET.fromstring(config)  # noqa: S314 - from Label Studio, which has parsed it
        except ET.ParseError as error:
            raise ValueError(f"the label config can't be read: {error}") from error
        self.controls: list[Tag] = []
        self.objects: list[Tag] = []
        for element in root.iter():
            if not element.get("name"):
                continue
            if element.get("toName"):
                self.controls.append(_control(element))
            elif element.get("value") or element.get("valueList"):
                self.objects.append(Tag(element.tag, element.get("name", ""), dict(element.attrib)))

    def get_control(self, name: str | None = None) -> Tag:
        """The control of that name; without one, the only control."""
        return _named(self.controls, name)

    def get_object(self, name: str | None = None) -> Tag:
        """The object of that name; without one, the only object."""
        return _named(self.objects, name)

    def get_first_tag_occurence(
        self,
        control_type: Any,
        object_type: Any,
        name_filter: Callable[[str], bool] | None = None,
        to_name_filter: Callable[[str], bool] | None = None,
    ) -> tuple[str, str, str]:
        """The names of the first control and object of these types, and the object's data key.

        Raises ValueError when there is no such pair.
        """
        objects = {each.name: each for each in self.objects}
        for control in self.controls:
            if not _is(control, control_type) or (name_filter and not name_filter(control.name)):
                continue
            for to_name in control.to_name:
                target = objects.get(to_name)
                wanted = to_name_filter is None or to_name_filter(to_name)
                if target is not None and wanted and _is(target, object_type):
                    return control.name, to_name, target.value_name
        raise ValueError(f"no control {control_type} of an object {object_type} in the config")

    def parsed(self) -> dict[str, Any]:
        """The config as label-studio-ml's `parse_config` gives it, by the controls' names."""
        objects = {each.name: each for each in self.objects}
        return {
            control.name: {
                "type": control.tag,
                "to_name": control.to_name,
                "inputs": [
                    {
                        "type": objects[name].tag,
                        "value": objects[name].value_name,
                        "valueType": objects[name].attr.get("valueType"),
                    }
                    for name in control.to_name
                    if name in objects
                ],
                "labels": control.labels,
                "labels_attrs": {name: tag.attr for name, tag in control.labels_attrs.items()},
            }
            for control in self.controls
        }


def _control(element: ET.Element) -> Tag:
    labels = {
        name: Tag(child.tag, name, dict(child.attrib))
        for child in element.iter()
        if child is not element and (name := child.get("alias") or child.get("value"))
    }
    to_names = [name.strip() for name in element.get("toName", "").split(",")]
    attributes = dict(element.attrib)
    return Tag(element.tag, element.get("name", ""), attributes, to_names, [*labels], labels)


def _named(tags: list[Tag], name: str | None) -> Tag:
    found = [tag for tag in tags if name is None or tag.name == name]
    if not found or (name is None and len(found) > 1):
        raise ValueError(f"the label config has no tag {name!r}" if name else "name a tag")
    return found[0]


def _is(tag: Tag, types: str | Iterable[str]) -> bool:
    wanted = (types,) if isinstance(types, str) else tuple(types)
    return tag.tag.lower() in {each.lower() for each in wanted}
