"""The real Label Studio for the tests that need it: started by the first of them, one for all."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.demo.label_studio import LabelStudioServer
from studio.client import StudioClient
from studio.records import ProjectInfo

TWO_CLASSES = (
    '<View><Image name="image" value="$image"/><Choices name="kind" toName="image">'
    '<Choice value="cat"/><Choice value="dog"/></Choices></View>'
)


@pytest.fixture(scope="session")
def environment() -> Path:
    """The virtual environment with the real Label Studio. Without it, its tests fail."""
    folder = Path(__file__).parent.parent / ".venv-label-studio"
    if not (folder / "bin" / "label-studio").exists():
        pytest.fail(
            "the real Label Studio is not in .venv-label-studio: `make test` installs it, "
            "`make test-fast` leaves its tests out"
        )
    return folder


@pytest.fixture(scope="session")
def empty_label_studio(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of Label Studio to copy: making its database takes most of a minute."""
    folder = tmp_path_factory.mktemp("label-studio") / "empty"
    with LabelStudioServer(folder, environment):
        pass
    return folder


@pytest.fixture(scope="session")
def label_studio(
    environment: Path, empty_label_studio: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LabelStudioServer]:
    """A running Label Studio. A test that stops it starts it again before it ends."""
    folder = tmp_path_factory.mktemp("label-studio") / "data"
    shutil.copytree(empty_label_studio, folder)
    with LabelStudioServer(folder, environment) as server:
        yield server


@pytest.fixture(scope="session")
def studio(label_studio: LabelStudioServer) -> Iterator[StudioClient]:
    """A client with the admin's token."""
    with label_studio.client() as client:
        yield client


@pytest.fixture
def studio_project(studio: StudioClient) -> Iterator[ProjectInfo]:
    """An empty project of its own for one test: the choices cat and dog on `$image`."""
    project = studio.create_project("test", TWO_CLASSES)
    yield project
    studio.delete_project(project.id)


@pytest.fixture(scope="session")
def backbones(pytestconfig: pytest.Config) -> Path:
    """Exported backbones, kept from one test run to the next: their names say what they hold."""
    assert pytestconfig.cache is not None
    return pytestconfig.cache.mkdir("backbones")
