"""What all tests share: which process runs them, and the real Label Studio."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from xdist.scheduler import LoadFileScheduling

from backend.demo.label_studio import LabelStudioServer
from studio.client import StudioClient
from studio.records.projects import ProjectInfo
from tests.support.fixtures import several, workbench
from tests.support.postgres import migrated, postgres, postgres_server

__all__ = ["migrated", "postgres", "postgres_server", "several", "workbench"]  # fixtures

TWO_CLASSES = (
    '<View><Image name="image" value="$image"/><Choices name="kind" toName="image">'
    '<Choice value="cat"/><Choice value="dog"/></Choices></View>'
)


class Scheduler(LoadFileScheduling):  # type: ignore[misc]
    """Has one process run a whole file: its tests share what is costly to make.

    All end-to-end tests share one run of everything.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "e2e" if "tests/e2e/" in file else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduler:
    """What `make test` hands out tests to its processes by."""
    return Scheduler(config, log)


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
def empty_label_studio(
    environment: Path, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Path:
    """A data folder of Label Studio to copy: making its database takes most of a minute."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "empty-label-studio"
    done = folder.parent / "empty-label-studio-done"
    with FileLock(f"{folder}.lock"):  # the first process makes it for all
        if not done.exists():
            with LabelStudioServer(folder, environment):
                pass
            done.touch()
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
