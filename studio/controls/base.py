"""The interface of learned control tags, and their common base class."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from model.targets.schema import ClassName, Path, TargetSchema, Value
from studio.controls.repeat import MOST_IMAGES, Repeat
from studio.regions import StudioRegion
from studio.task_values import is_variable, read_value

Regions = Sequence[StudioRegion]


class Control(Protocol):
    """A control tag that is learned."""

    @property
    def name(self) -> str:
        """The tag's name: `from_name` in results, with the index in place of a Repeater's flag."""

    @property
    def to_name(self) -> str:
        """The name of the image tag that it labels."""

    @property
    def kind(self) -> str:
        """The type of its regions, such as "choices"."""

    @property
    def image_value(self) -> str:
        """Where a task's data hold the image: the image tag's `value`, or its `valueList`."""

    @property
    def multi_image(self) -> bool:
        """Whether a task has a list of images (`valueList`, or a Repeater)."""

    @property
    def per_item(self) -> bool:
        """Whether it labels each image of a task for itself; if not, all of them together."""

    @property
    def repeat(self) -> Repeat | None:
        """The Repeater that makes one of it for each image."""

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

    def unknown(self, region: StudioRegion) -> tuple[Path, ...]:
        """The classes that one of its regions names and the config doesn't have, from the root."""

    def path_of(self, name: str) -> Path:
        """A class from the root, by its name as people write it, such as "animal / cat"."""

    def has_class(self, path: Path) -> bool:
        """Whether the config itself has this class."""

    def takes_class(self, path: Path) -> bool:
        """Whether labels may have this class, which may come with the tasks."""

    def write(self, value: Value, score: float) -> list[StudioRegion]:
        """The regions that say `value`, with a score in [0, 1].

        ValueError for what Label Studio would not take. A value that says nothing (no class at all)
        has no region: ValueError.
        """

    def images(self, data: Mapping[str, Any]) -> tuple[str | None, ...]:
        """The URIs of the images in a task's data, None for one that isn't there; at least one."""

    def offered(self, data: Mapping[str, Any], item: int = 0) -> frozenset[ClassName] | None:
        """The classes that this task's data brings along; None when that doesn't depend on it.

        Args:
            item: the index of the image that is asked about.
        """


@dataclass(frozen=True)
class Tag:
    """A control tag as it stands in a label config."""

    tag: str
    name: str
    to_name: str
    attributes: Mapping[str, str]  # names in lower case, as the editor reads them
    # All its choices or labels, in order, each from the root; an alias in place of the value.
    paths: tuple[Path, ...]
    image_value: str  # the image tag's `value`, or its `valueList`, such as "$image"
    variable: bool = False  # whether a choice's own value comes from the task's data
    image_list: bool = False  # whether the image tag has a `valueList`
    # {path that ends in a choice's value: path}, of choices with an alias: labels from before the
    # alias have the value
    spellings: Mapping[Path, Path] = field(default_factory=dict)
    repeat: Repeat | None = None
    conditional: bool = False  # whether a tag around it is shown under a condition (`visibleWhen`)

    def get(self, name: str, default: str = "") -> str:
        """The value of an attribute."""
        return self.attributes.get(name.lower(), default)

    def flag(self, name: str) -> bool:
        """Whether a boolean attribute is set."""
        return self.get(name).strip().lower() == "true"

    @property
    def options_value(self) -> str | None:
        """Where a task's data hold its choices: "$options" of `value="$options"`."""
        value = self.get("value").strip()
        return value if is_variable(value) else None

    @property
    def always_shown(self) -> bool:
        """Whether annotators see it at every task, and may leave it empty."""
        return not (self.flag("required") or self.get("visibleWhen") or self.conditional)


class NotLearnedError(Exception):
    """Raised for a tag that is not learned; the message tells the project's admin why."""


# Takes a tag that labels an image. Raises NotLearnedError.
ControlFactory = Callable[[Tag], Control]


@dataclass(frozen=True)
class ControlTarget:
    """The image, or the list of images, that a control labels, and the form of its regions."""

    name: str
    to_name: str
    image_value: str
    kind: str  # the type of its regions, which is mostly the key of their values too
    multi_image: bool
    per_item: bool
    repeat: Repeat | None = None

    @classmethod
    def of(cls, tag: Tag) -> ControlTarget:
        """The target of a tag. Raises NotLearnedError unless it labels whole images."""
        if tag.flag("perRegion"):
            raise NotLearnedError("labels of single regions are not learned, only of whole images")
        if not is_variable(tag.image_value):
            raise NotLearnedError('its image has no value of the form "$image"')
        repeated = tag.repeat is not None
        return cls(
            name=tag.name,
            to_name=tag.to_name,
            image_value=tag.image_value,
            kind=tag.tag.lower(),
            multi_image=tag.image_list or repeated,
            per_item=tag.flag("perItem") or repeated,
            repeat=tag.repeat,
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
    def kind(self) -> str:
        """The type of its regions."""
        return self.target.kind

    @property
    def image_value(self) -> str:
        """Where a task's data hold the image."""
        return self.target.image_value

    @property
    def multi_image(self) -> bool:
        """Whether a task has a list of images."""
        return self.target.multi_image

    @property
    def per_item(self) -> bool:
        """Whether it labels each image of a task for itself."""
        return self.target.per_item

    @property
    def repeat(self) -> Repeat | None:
        """The Repeater that makes one of it for each image."""
        return self.target.repeat

    def values(self, regions: Regions, key: str | None = None) -> Iterator[Any]:
        """The values of this control's regions under `key`, by default the type of its regions."""
        name, kind = self.target.name, self.target.kind
        for region in regions:
            if region.from_name == name and region.kind == kind:
                yield region.value.get(key or kind)

    def unknown(self, region: StudioRegion) -> tuple[Path, ...]:
        """None: numbers have no classes."""
        return ()

    def path_of(self, name: str) -> Path:
        """The class by itself."""
        return (name,)

    def has_class(self, path: Path) -> bool:
        """Never: numbers have no classes."""
        return False

    def takes_class(self, path: Path) -> bool:
        """Never: numbers have no classes."""
        return False

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
        repeat, template = self.repeat, self.image_value
        if repeat is not None:
            items = range(repeat.count(data))
            listed = [read_value(repeat.at(template, item), data) for item in items]
        else:
            value = read_value(template, data)
            many = self.multi_image and isinstance(value, list)
            listed = value[:MOST_IMAGES] if many else [value]
        uris = tuple(uri if isinstance(uri, str) and uri.strip() else None for uri in listed)
        return uris or (None,)
