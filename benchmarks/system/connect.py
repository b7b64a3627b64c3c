"""Measures the seconds from `apprentice connect` of a half-labelled project to suggestions."""

import os
import subprocess
import sys
import time

from benchmarks.support.harness import (
    Options,
    WaitedInVainError,
    demo,
    new_project,
    readable,
    region,
)
from benchmarks.support.report import Bar, Outcome
from store.predictions.shortlists import get_shortlist
from store.projects.connections import DEFAULT
from store.projects.projects import find_project
from store.tasks.tasks import count_tasks
from store.versions.versions import HEAD, get_version

PATIENCE = 180.0  # seconds


def run(options: Options) -> Outcome:
    """Measure it; the images are new to Apprentice."""
    images, labelled = options.count(400, 60), options.count(200, 20)
    with demo(30) as session:
        info, truth = new_project(session, "Half labelled", images, seed=2)
        for task in list(truth)[::2][:labelled]:
            session.studio.create_annotation(task, [region(truth[task])], lead_time=5.0)
        environment = os.environ | {
            "APPRENTICE_HOME": str(session.settings.home),
            "APPRENTICE_PORT": str(session.settings.port),
            "LABEL_STUDIO_URL": session.label_studio.url,
            "LABEL_STUDIO_API_KEY": session.label_studio.token,
        }
        command = [sys.executable, "-m", "backend.cli", "connect", "--project", str(info.id)]
        began = time.monotonic()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        connected = time.monotonic() - began
        embedded = first = None
        while True:
            passed = time.monotonic() - began
            if passed > PATIENCE:
                raise WaitedInVainError(f"no suggestion within {PATIENCE:.0f} s")
            with session.store.database.read() as db:
                project = find_project(db, DEFAULT, info.id)
                assert project is not None, "it was connected"
                version = get_version(db, project.served_version_id or 0)
                left = get_shortlist(db, project.id)
                counts = count_tasks(db, project.id, project.embedding_space)
            if embedded is None and counts.embedded >= images:
                embedded = passed
            if version is not None and version.kind == HEAD and left:
                open_task = next(task for task in left)
                if readable(session.studio, info.id, version.name, open_task):
                    first = first or (time.monotonic() - began, version.labels)
                    if version.labels >= labelled:
                        break
            time.sleep(0.05)
        done = time.monotonic() - began
    return Outcome(
        [
            Bar(
                f"connect, {images} tasks, {labelled} labelled → suggestions",
                "most",
                30,
                first[0],
                "s",
                f"the first version knew {first[1]} labels; one that knows all of them "
                f"was readable after {done:.1f} s",
            )
        ],
        {
            "seconds until `connect` came back": round(connected, 2),
            "seconds until all images were embedded": round(embedded, 2) if embedded else None,
            "seconds until a version knew all labels": round(done, 2),
        },
    )
