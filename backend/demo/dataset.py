"""A labelled sample data set: images whose class is known."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

CONTROL, TO_NAME, VALUE_KEY = "class", "image", "image"  # in a sample set's label config


class DatasetMissingError(Exception):
    """The package with the images is not installed."""


@dataclass(frozen=True)
class Sample:
    """An image file and its true class."""

    name: str  # of the uploaded file; it says nothing of the class
    content: bytes
    label: str


@dataclass(frozen=True)
class SampleSet:
    """A data set with its project in Label Studio.

    Attributes:
        title: of the project.
        stem, suffix: of the uploaded files' names.
        classes: in the order of their buttons.
        read: reads all images of each class, in a fixed order, as functions that return a file's
            content. Raises DatasetMissingError.
    """

    title: str
    stem: str
    suffix: str
    classes: tuple[str, ...]
    read: Callable[[], Mapping[str, Sequence[Callable[[], bytes]]]]

    @property
    def label_config(self) -> str:
        """The project's label config: one choice among the classes."""
        choices = "".join(f'\n    <Choice value="{escape(name)}"/>' for name in self.classes)
        return f"""<View>
  <Image name="{TO_NAME}" value="${VALUE_KEY}"/>
  <Choices name="{CONTROL}" toName="{TO_NAME}" choice="single">{choices}
  </Choices>
</View>"""

    def load(self, count: int, *, seed: int = 0) -> list[Sample]:
        """Draw `count` images, equally many of each class, shuffled by the seed.

        Raises:
            DatasetMissingError: the package with the images is not installed.
            ValueError: there are not so many.
        """
        chance = random.Random(seed)  # noqa: S311 - a shuffle, no secret
        chosen: list[tuple[Callable[[], bytes], str]] = []
        for position, (label, files) in enumerate(self.read().items()):
            wanted = (count + len(self.classes) - 1 - position) // len(self.classes)
            if wanted > len(files):
                raise ValueError(f"there are only {len(files)} images of class {label!r}")
            chosen += [(file, label) for file in chance.sample(files, wanted)]
        chance.shuffle(chosen)
        return [
            Sample(f"{self.stem}-{position:04d}.{self.suffix}", file(), label)
            for position, (file, label) in enumerate(chosen)
        ]
