"""What a control tag of a label config can do for the learner, and how a tag is described to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from model.targets import TargetSchema


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
    def schema(self) -> TargetSchema:
        """What is learned."""

    def read(self, results: Sequence[Mapping[str, Any]]) -> str | None:
        """The class that an annotation's (or prediction's) `result` gives, None when it gives none.

        None also for a class that the config no longer has.
        """

    def write(self, class_name: str, score: float) -> dict[str, Any]:
        """A region that says `class_name`, with a score in [0, 1]. Raises ValueError."""

    def image(self, data: Mapping[str, Any]) -> str | None:
        """The URI of the image in a task's data, None when there is none."""


@dataclass(frozen=True)
class Tag:
    """A control tag as it stands in a label config."""

    tag: str
    name: str
    to_name: str
    attributes: Mapping[str, str]
    classes: tuple[str, ...]  # of its labels or choices, an alias in place of the value, in order
    image_value: str  # the image tag's `value`, such as "$image"
    nested: bool = False  # whether one choice holds others
    dynamic: bool = False  # whether the classes come from the task's data
    image_attributes: Mapping[str, str] = field(default_factory=dict)


class NotLearnedError(Exception):
    """This tag is not learned; the message says why, in a sentence for the project's admin."""


# Takes a tag that labels an image. Raises NotLearnedError.
ControlFactory = Callable[[Tag], Control]
