"""Training guest models, and asking them ahead, as jobs: with real guests in real processes."""

from collections.abc import Iterator

import pytest

from services.guests.state import fitted_key, loaded_key
from store.predictions.guest_predictions import GuestPredictions
from store.predictions.publications import pending_publications
from store.projects.projects import change_project
from store.tasks.tasks import task_data
from store.versions.versions import newest_version
from store.work.jobs import list_jobs
from store.work.pending_work import get_work
from store.work.work_kind import WorkKind
from tests.support.guests import (
    OLDER,
    RECTANGLES,
    TEXT,
    guests_running,
    report_of,
    set_mood,
    until,
    until_ready,
)
from tests.support.workbench import Workbench
from worker.guests.fitting import fraction_of

BOX = '<RectangleLabels name="box" toName="image"><Label value="thing"/></RectangleLabels>'
KIND = '<Choices name="kind" toName="image"><Choice value="cat"/><Choice value="dog"/></Choices>'


@pytest.fixture
def bench(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workbench]:
    guests = f"{RECTANGLES}@box; {OLDER}@tone"
    monkeypatch.setenv("APPRENTICE_GUESTS", guests)
    workbench.store.settings.guests = guests
    workbench.configure(KIND + BOX)
    with guests_running(workbench.store) as server:
        until_ready(server)
        until(lambda: bool(report_of(workbench.store)["Rectangles"].learns))
        yield workbench


def version(bench: Workbench, guest: str = "Rectangles") -> str | None:
    with bench.store.database.read() as db:
        loaded = loaded_key(guest, bench.project_id).get(db)
    return loaded.version if loaded else None


def wanted(bench: Workbench, kind: WorkKind) -> bool:
    with bench.store.database.read() as db:
        work = get_work(db, bench.project_id, kind)
    return work is not None and work.wanted > work.done


def test_guests_are_asked_ahead_and_trained_after_annotations(bench: Workbench) -> None:
    bench.run("predict")
    assert version(bench) == "rect-1"
    assert {1, 2, 3} <= seen(bench)

    bench.annotate(bench.tasks_of("cat", 4) | bench.tasks_of("dog", 4))
    bench.run("learn")
    assert wanted(bench, WorkKind.GUEST)
    bench.run("guest")
    assert version(bench) == "rect-2"
    with bench.store.database.read() as db:
        fitted = fitted_key("Rectangles", bench.project_id).get(db)
        [job] = [each for each in list_jobs(db, bench.project_id) if each.kind == "guest"]
    assert (fitted.fits, fitted.version, job.state) == (1, "rect-2", "finished")
    # The guest's new version belongs to a new one of ours, of the same labels.
    assert wanted(bench, WorkKind.LEARN)
    bench.run("learn")
    assert not wanted(bench, WorkKind.GUEST)


def seen(bench: Workbench) -> set[int]:
    """The tasks that the guest has answered."""
    with bench.store.database.read() as db:
        data = task_data(db, bench.project_id, bench.truth)
        loaded = loaded_key("Rectangles", bench.project_id).get(db)
    predictions = GuestPredictions(bench.store.settings)
    found = predictions.seen(bench.project_id, "Rectangles", loaded.key, data)
    predictions.close()
    return found


def test_a_task_that_a_guest_cant_read_doesnt_cost_the_others(bench: Workbench) -> None:
    set_mood(bench.store, "raise on 3")
    bench.run("predict")  # the model is loaded
    while seen(bench) != bench.truth.keys() - {3}:
        bench.run("predict")
    bench.run("predict")
    with bench.store.database.read() as db:
        work = get_work(db, bench.project_id, WorkKind.PREDICT)
    assert work.error == "Rectangles: ValueError: a torn page"
    assert seen(bench) == bench.truth.keys() - {3}


def test_a_guest_that_is_back_is_asked_at_once(bench: Workbench) -> None:
    set_mood(bench.store, "crash")
    for _ in range(4):  # it waits longer each time
        bench.run("predict")

    def waits() -> bool:
        with bench.store.database.read() as db:
            work = get_work(db, bench.project_id, WorkKind.PREDICT)
        return work is not None and work.not_before > 0

    set_mood(bench.store, "")
    until(lambda: not waits())
    assert wanted(bench, WorkKind.PREDICT)


def test_a_failed_training_is_shown_and_not_tried_again(bench: Workbench) -> None:
    bench.run("predict")
    set_mood(bench.store, "fit crash")
    bench.annotate(bench.tasks_of("cat", 4) | bench.tasks_of("dog", 4))
    bench.run("guest")
    with bench.store.database.read() as db:
        [job] = [each for each in list_jobs(db, bench.project_id) if each.kind == "guest"]
    assert job.state == "failed"
    assert "ended with code 9" in (job.error or "")
    assert version(bench) == "rect-1"
    bench.run("learn")
    assert not wanted(bench, WorkKind.GUEST)


def test_a_slow_training_is_stopped(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPRENTICE_GUEST_FIT_SECONDS", "1")
    set_mood(bench.store, "fit hang")
    bench.annotate(bench.tasks_of("cat", 4))
    bench.run("guest")
    with bench.store.database.read() as db:
        [job] = [each for each in list_jobs(db, bench.project_id) if each.kind == "guest"]
    assert "no answer in time" in (job.error or "")
    assert "epoch 1/2" in job.message
    assert job.progress == 0.5


def test_guests_serve_a_project_alone(bench: Workbench) -> None:
    project_id = bench.project_id
    bench.store.database.write(lambda db: change_project(db, project_id, label_config=TEXT))
    bench.run("learn")  # nothing is loaded yet
    assert "being started" in (bench.project.reason or "")
    bench.run("predict")
    bench.run("learn")
    with bench.store.database.read() as db:
        newest = newest_version(db, project_id)
        pending = pending_publications(db, project_id)
    assert newest is not None
    assert newest.name == "apprentice v1 + MostFrequent INITIAL"
    assert [each.reason for each in pending] == ["version"]
    assert bench.project.reason is None


@pytest.mark.parametrize(
    ("line", "fraction"),
    [
        ("epoch 3/10", 0.3),
        ("42%|####", 0.42),
        ("loss 0.3", None),
        ("5/4", None),
        ("", None),
    ],
)
def test_progress_is_read_from_what_a_guest_prints(line: str, fraction: float | None) -> None:
    assert fraction_of(line) == fraction
