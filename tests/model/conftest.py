"""Real images and one exported backbone for all tests of the model."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from model.embedding import Embedder, open_embedder


@pytest.fixture(scope="session")
def embedder_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds the exported default backbone."""
    folder = tmp_path_factory.mktemp("embedders")
    open_embedder("bundled:lite0", device="cpu", cache_dir=folder).close()
    return folder


@pytest.fixture(scope="session")
def embedder(embedder_cache: Path) -> Iterator[Embedder]:
    """The default backbone on OpenVINO in float32."""
    opened = open_embedder(
        "bundled:lite0", device="cpu", precision="float32", cache_dir=embedder_cache, threads=2
    )
    yield opened
    opened.close()


def textile_files(count: int) -> list[Path]:
    """`count` of the 2,000 textile images, evenly taken. The folder's name is the class."""
    from conformal_clip_data import textile_simulated_root

    files = sorted(textile_simulated_root().rglob("*.jpg"))
    return files[:: len(files) // count][:count]


@pytest.fixture(scope="session")
def textiles() -> list[Image.Image]:
    """Forty textile images, RGB."""
    return [Image.open(path).convert("RGB") for path in textile_files(40)]
