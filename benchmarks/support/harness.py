"""Runs a whole Apprentice with a real Label Studio for benchmarks."""

import contextlib
import io
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
from PIL import Image

from backend.demo.annotator import true_name
from backend.demo.dataset import CONTROL, TO_NAME
from backend.demo.label_studio import LabelStudioServer, create_image_project
from backend.demo.process import tail
from backend.demo.run import DemoSession
from backend.demo.textiles import TEXTILES
from benchmarks.support.report import ENVIRONMENT, OUT
from store.projects.connections import DEFAULT, StudioConnection, get_connection
from store.projects.projects import Project, get_project
from store.versions.versions import Version, get_version, newest_version
from store.work.jobs import Job, list_jobs
from store.work.pending_work import get_work
from store.work.work_kind import WorkKind
from studio.client import StudioClient
from studio.records.projects import ProjectInfo
from studio.regions import StudioRegion

POLL_SECONDS = 0.02
MOST_SAMPLES = 1500  # of the sample images, equally many of each class


@dataclass(frozen=True)
class Options:
    """How to measure: `quick` is a try of the script itself, its numbers mean nothing."""

    quick: bool = False
    minutes: float = 10.0  # of the run whose share of Label Studio's time is measured
    runs: int = 0  # of what is measured several times over; 0: as many as it has by itself
    database: str = "sqlite"  # or postgres: a server of its own
    seed: int = 0  # of the first run
    outbound: bool = False  # with a stock Label Studio, which can't call Apprentice

    def count(self, usual: int, quick: int) -> int:
        """How many, for the real thing or for a try."""
        return quick if self.quick else usual


class WaitedInVainError(Exception):
    """What a benchmark waits for did not happen."""


@contextlib.contextmanager
def demo(
    images: int, settings: Mapping[str, str] | None = None, *, stock: bool = False
) -> Iterator[DemoSession]:
    """A demo with that many images, in a folder that is removed afterwards."""
    with (
        prepared() as home,
        DemoSession(
            home, ENVIRONMENT, dataset=TEXTILES, images=images, settings=settings, stock=stock
        ) as session,
    ):
        try:
            yield session
        except Exception:
            for log in sorted((session.settings.home / "logs").glob("*.log")):
                print(f"--- the end of {log.name}\n{tail(log)}", flush=True)
            raise


@contextlib.contextmanager
def prepared() -> Iterator[Path]:
    """A folder for a demo, which doesn't wait for what only the very first start has to make.

    That is Label Studio's empty database, which takes a minute, and the exported backbone.
    """
    database, backbones = OUT / "label-studio", OUT / "backbones"
    if (
        not (database / "login.json").exists()
        or "token" not in (database / "login.json").read_text()
    ):
        with LabelStudioServer(database, ENVIRONMENT):
            pass
    with tempfile.TemporaryDirectory(prefix="apprentice-benchmark-") as folder:
        home = Path(folder)
        shutil.copytree(database, home / "label-studio")
        if backbones.exists():
            shutil.copytree(backbones, home / "apprentice" / "backbones")
        yield home


def wait(done: Callable[[], bool], what: str, seconds: float = 120.0) -> float:
    """Look again and again until it is so; return the seconds that took."""
    began = time.monotonic()
    while not done():
        if time.monotonic() - began > seconds:
            raise WaitedInVainError(f"not within {seconds:.0f} s: {what}")
        time.sleep(POLL_SECONDS)
    return time.monotonic() - began


def region(label: str) -> StudioRegion:
    """An annotation's one region."""
    return StudioRegion.new(
        from_name=CONTROL, to_name=TO_NAME, kind="choices", value={"choices": [label]}
    )


def truths(session: DemoSession, studio_project: int) -> dict[int, str]:
    """{task: its true class} of a project with the demo's images."""
    return {
        task.id: session.truth[true_name(str(task.data["image"]))]
        for task in session.studio.tasks(studio_project)
    }


def unique_images(count: int, *, seed: int) -> Iterator[tuple[str, bytes, str]]:
    """(name, JPEG, class): the sample images, each made a new one by bytes behind its end.

    Its hash is new and so it is embedded anew, but what it shows is what it was.
    """
    samples = TEXTILES.load(min(count, MOST_SAMPLES), seed=seed)
    for number in range(count):
        sample = samples[number % len(samples)]
        mark = f"{seed}-{number}".encode()
        yield f"new-{seed}-{number:05d}.jpg", sample.content + mark, sample.label


def photograph(number: int, width: int = 640, height: int = 480) -> bytes:
    """A JPEG of that size that nobody has seen: a piece of a sample image, enlarged, with grain."""
    chance = random.Random(number)
    sample = TEXTILES.load(300)[number % 300]
    with Image.open(io.BytesIO(sample.content)) as image:
        side = 200
        left, top = (chance.randrange(max(size - side, 1)) for size in image.size)
        piece = image.convert("RGB").crop((left, top, left + side, top + side))
    grain = Image.effect_noise((width, height), 24).convert("RGB")
    mixed = Image.blend(piece.resize((width, height), Image.Resampling.BICUBIC), grain, 0.15)
    stream = io.BytesIO()
    mixed.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def new_project(
    session: DemoSession, title: str, images: int, *, seed: int
) -> tuple[ProjectInfo, dict[int, str]]:
    """A project in Label Studio that Apprentice doesn't know; {task: class} of its images."""
    listed = list(unique_images(images, seed=seed))
    labels = {name: label for name, _, label in listed}
    files = ((name, data) for name, data, _ in listed)
    info, tasks = create_image_project(session.studio, title, TEXTILES.label_config, files)
    return info, {task: labels[name] for name, task in tasks.items()}


def connection(session: DemoSession) -> StudioConnection:
    """The demo's connection: its secret goes with webhooks."""
    with session.store.database.read() as db:
        found = get_connection(db, DEFAULT)
    assert found is not None, "the demo connects"
    return found


def served(session: DemoSession, project: Project | None = None) -> Version | None:
    """The version that the project serves now."""
    project_id = (project or session.project).id
    with session.store.database.read() as db:
        known = get_project(db, project_id)
        return get_version(db, (known and known.served_version_id) or 0)


def newest(session: DemoSession) -> Version | None:
    """The version that was trained last, also when it was refused."""
    with session.store.database.read() as db:
        return newest_version(db, session.project.id)


def readable(studio: StudioClient, project: int, version: str, task: int) -> bool:
    """Whether Label Studio shows that version, and holds its prediction of that task."""
    if studio.get_project(project).model_version != version:
        return False
    return any(held.model_version == version for held in studio.predictions(task=task))


def jobs(session: DemoSession, kind: str, since: float = 0.0) -> list[Job]:
    """The project's jobs of one kind that were made since then, the oldest first."""
    with session.store.database.read() as db:
        known = list_jobs(db, session.project.id, limit=1_000)
    return sorted(
        (job for job in known if job.kind == kind and job.created_at >= since),
        key=lambda job: job.created_at,
    )


COMPUTING = (WorkKind.EMBED, WorkKind.LEARN, WorkKind.PUBLISH)


def at_rest(session: DemoSession, kinds: tuple[WorkKind, ...] = COMPUTING) -> bool:
    """Whether nothing of these kinds is wanted."""
    with session.store.database.read() as db:
        found = [get_work(db, session.project.id, kind) for kind in kinds]
    return all(work is None or work.wanted == work.done for work in found)


def ours(session: DemoSession) -> list[psutil.Process]:
    """All processes of the demo's Apprentice, `apprentice up` first."""
    home = str(session.settings.home)
    found: dict[int, psutil.Process] = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.environ().get("APPRENTICE_HOME") == home:
                # The broker's own environment says nothing, so children count too.
                below = process.children(recursive=True)
                found |= {each.pid: each for each in [process, *below]}
    return list(found.values())


def pss(process: psutil.Process) -> float:
    """Proportional set size, MB: shared pages are divided among those who share them."""
    rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    lines = (line.split() for line in rollup.splitlines())
    return next(int(line[1]) for line in lines if line[0] == "Pss:") / 1024
