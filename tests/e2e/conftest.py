"""One real run for all end-to-end tests: Label Studio, Apprentice, real images, an annotator."""

from collections.abc import Iterator

import pytest

from backend.demo.run import DemoSession
from tests.conftest import ENVIRONMENT

RECONCILE_SECONDS = 4


@pytest.fixture(scope="session")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoSession]:
    """A demo that runs, with 160 images and no label yet."""
    if not (ENVIRONMENT / "bin" / "label-studio").exists():
        pytest.skip("the real Label Studio is not in .venv-label-studio: `make test` installs it")
    settings = {
        "APPRENTICE_RECONCILE_SECONDS": str(RECONCILE_SECONDS),
        "APPRENTICE_MIN_CONFIDENCE": "0",
    }
    home = tmp_path_factory.mktemp("demo")
    with DemoSession(home, ENVIRONMENT, images=160, settings=settings) as running:
        yield running
