"""One real run for all end-to-end tests: Label Studio, Apprentice, real images, an annotator."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.demo.run import DemoSession
from backend.demo.textiles import TEXTILES

RECONCILE_SECONDS = 4


@pytest.fixture(scope="package")
def session(
    environment: Path, empty_label_studio: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DemoSession]:
    """A demo that runs, with 160 images and no label yet."""
    settings = {
        "APPRENTICE_RECONCILE_SECONDS": str(RECONCILE_SECONDS),
        "APPRENTICE_MIN_CONFIDENCE": "0",
        "APPRENTICE_BLIND_SHARE": "0",
        "APPRENTICE_FINETUNE": "manual",
    }
    home = tmp_path_factory.mktemp("demo")
    shutil.copytree(empty_label_studio, home / "label-studio")
    with DemoSession(home, environment, dataset=TEXTILES, images=160, settings=settings) as running:
        yield running
