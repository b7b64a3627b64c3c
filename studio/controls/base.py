"""The interface of learned control tags, and their common base class."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from model.targets.schema import ClassName, Path, TargetSchema, Value
from studio.regions import StudioRegion

Regions = Sequence[StudioRegion]

MOST_IMAGES = 1_000  # of one task that are looked at


class Control(Protocol):
    """A control tag that is learned."""

    @property
    def name(self) -> str:
        """The tag's name: `from_name` in results."""

    @property
    def to_name(self) -> str:
        """The name of the image tag that it labels."""

    @property
    def value_key(self) -> str:
        """The key of a task's data that holds the image: "image" of `value="$image"`."""

    @property
    def multi_image(self) -> bool:
        """Whether that key holds a list of images (`valueList`)."""

    @property
    def per_item(self) -> bool:
        """Whether it labels each image of a task for itself; if not, all of them together."""

    @property
    def schema(self) -> TargetSchema:
        """The schema of its labels."""

    @property
    def absent(self) -> Value | None:
        """The label of an annotation that doesn't mention this control; None: it says nothing."""

    @property
    def bulk(self) -> bool:
        """Whether Label Studio takes this control's regions in its bulk import."""

    def read(self, regions: Regions) -> Value | None:
        """The label that an annotation's (or prediction's) regions give, None when they give none.

        None also for a class that the config no longer has. Which of a task's images a region
        speaks of is for `studio.items` to know.
        """

    def write(self, value: Value, score: float) -> list[StudioRegion]:
        """The regions that say `value`, with a score in [0, 1].

        ValueError for what Label Studio would not take. A value that says nothing (no class at all)
        has no region: ValueError.
        """

    def images(self, data: Mapping[str, Any]) -> tuple[str | None, ...]:
        """The URIs of the images in a task's data, None for one that isn't there; at least one."""

    def offered(self, data: Mapping[str, Any]) -> frozenset[ClassName] | None:
        """The classes that this task's data brings along; None when that doesn't depend on it."""


@dataclass(frozen=True)
class Tag:
    """A control tag as it stands in a label config."""

    tag: str
    name: str
    to_name: str
    attributes: Mapping[str, str]
    # All its choices or labels, in order, each from the root; an alias in place of the value.
    paths: tuple[Path, ...]
    image_value: str  # the image tag's `value`, or its `valueList`, such as "$image"
    variable: bool = False  # whether a choice's own value comes from the task's data
    image_attributes: Mapping[str, str] = field(default_factory=dict)

    def flag(self, name: str) -> bool:
        """Whether a boolean attribute is set."""
        return self.attributes.get(name, "").strip().lower() == "true"

    @property
    def options_key(self) -> str | None:
        """The key of a task's data that holds its choices: "options" of `value="$options"`."""
        value = self.attributes.get("value", "").strip()
        return value[1:] if len(value) > 1 and value.startswith("$") else None

    @property
    def always_shown(self) -> bool:
        """Whether annotators see it at every task, and may leave it empty."""
        return not (self.flag("required") or self.attributes.get("visibleWhen"))


class NotLearnedError(Exception):
    """Raised for a tag that is not learned; the message tells the project's admin why."""


# Takes a tag that labels an image. Raises NotLearnedError.
ControlFactory = Callable[[Tag], Control]


@dataclass(frozen=True)
class ControlTarget:
    """The image, or the list of images, that a control labels, and the form of its regions."""

    name: str
    to_name: str
    value_key: str
    kind: str  # the type of its regions, which is mostly the key of their values too
    multi_image: bool
    per_item: bool

    @classmethod
    def of(cls, tag: Tag) -> ControlTarget:
        """The target of a tag. Raises NotLearnedError unless it labels whole images."""
        if tag.flag("perRegion"):
            raise NotLearnedError("labels of single regions are not learned, only of whole images")
        if not tag.image_value.startswith("$") or len(tag.image_value) == 1:
            raise NotLearnedError('its image has no value of the form "$image"')
        return cls(
            name=tag.name,
            to_name=tag.to_name,
            value_key=tag.image_value[1:],
            kind=tag.tag.lower(),
            multi_image="valueList" in tag.image_attributes,
            per_item=tag.flag("perItem"),
        )


@dataclass(frozen=True)
class ImageControl:
    """The base class of controls of whole images."""

    target: ControlTarget

    @property
    def name(self) -> str:
        """The tag's name."""
        return self.target.name

    @property
    def to_name(self) -> str:
        """The name of the image tag that it labels."""
        return self.target.to_name

    @property
    def value_key(self) -> str:
        """The key of a task's data that holds the image."""
        return self.target.value_key

    @property
    def multi_image(self) -> bool:
        """Whether that key holds a list of images."""
        return self.target.multi_image

    @property
    def per_item(self) -> bool:
        """Whether it labels each image of a task for itself."""
        return self.target.per_item

    def values(self, regions: Regions, key: str | None = None) -> Iterator[Any]:
        """The values of this control's regions under `key`, by default the type of its regions."""
        name, kind = self.target.name, self.target.kind
        for region in regions:
            if region.from_name == name and region.kind == kind:
                yield region.value.get(key or kind)

    def region(self, value: Any, score: float, key: str | None = None) -> StudioRegion:
        """A region with this value under `key`, by default the type of its regions.

        Raises ValueError for a score outside of [0, 1].
        """
        target = self.target
        value = {key or target.kind: value}
        return StudioRegion.new(target.name, target.to_name, target.kind, value, score)

    def images(self, data: Mapping[str, Any]) -> tuple[str | None, ...]:
        """The URIs of the images in a task's data, of a list the first MOST_IMAGES.

        Anything but a list is one image, as in the editor.
        """
        value = data.get(self.value_key)
        listed = value[:MOST_IMAGES] if self.multi_image and isinstance(value, list) else [value]
        uris = tuple(uri if isinstance(uri, str) and uri.strip() else None for uri in listed)
        return uris or (None,)
