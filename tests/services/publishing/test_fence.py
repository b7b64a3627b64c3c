"""A worker that was cut off in the middle of a publish changes nothing once its lease is gone."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.publishing import duplicates
from store.predictions.publication_reason import PublicationReason
from store.predictions.publications import (
    PredictionItem,
    add_publication,
    begin_chunk,
    next_chunk,
    pending_publications,
    predicted_tasks,
)
from store.work import pending_work
from store.work.jobs import get_job, job_id
from tests.support.predictions_studio import PredictionsStudio, predictions_studio
from tests.support.scripted_studio import Reply, Request, json_reply
from tests.support.versions import plain_version
from tests.support.workbench import Workbench, region

RESULT = [region("kind", "choices", ["cat"])]


@pytest.fixture
def studio(workbench: Workbench) -> Iterator[PredictionsStudio]:
    with predictions_studio(workbench.store) as scripted:
        yield scripted


def publish(bench: Workbench, tasks: list[int]) -> int:
    """A version with predictions to push; its id."""

    def write(db):
        version = plain_version(db, bench.project_id)
        items = [PredictionItem(task, 0.5, RESULT) for task in tasks]
        add_publication(db, bench.project_id, version.id, PublicationReason.VERSION, items)
        return version.id

    return bench.store.database.write(write)


def take_over(bench: Workbench) -> None:
    """Another worker begins, as when this one has long given no sign of life."""
    generation = bench.prepare("publish")
    bench.store.database.write(
        lambda db: pending_work.begin(db, bench.project_id, "publish", generation)
    )


def test_nothing_is_sent_after_the_lease_is_gone(
    workbench: Workbench, studio: PredictionsStudio
) -> None:
    version = publish(workbench, list(workbench.truth))  # two requests
    generation = workbench.prepare("publish")
    studio.after_import = lambda: take_over(workbench)
    workbench.begin("publish", generation)
    assert len(studio.changes()) == 1, "the one that was under way"
    with workbench.store.database.read() as db:
        job = get_job(db, job_id("publish", workbench.project_id, generation))
        assert job is not None
        assert job.state == "lost"
        assert predicted_tasks(db, workbench.project_id, version) == set()
        assert len(pending_publications(db, workbench.project_id)) == 1
        work = pending_work.get_work(db, workbench.project_id, "publish")
        assert work is not None
        assert work.failures == 0, "its successor hasn't failed"


def test_a_request_is_not_even_begun_after_the_lease_is_gone(
    workbench: Workbench, studio: PredictionsStudio
) -> None:
    publish(workbench, [1, 2])
    generation = workbench.prepare("publish")

    def lose(_request: Request) -> Reply:  # between the look at the lease and the request
        take_over(workbench)
        return json_reply([])

    studio.server.on("/api/predictions/", lose)
    with workbench.store.database.read() as db:
        (publication,) = pending_publications(db, workbench.project_id)
        chunk = next_chunk(db, publication.id)
    assert chunk is not None
    workbench.store.database.write(lambda db: begin_chunk(db, chunk))  # so that it asks first
    workbench.begin("publish", generation)
    assert studio.changes() == []


@pytest.mark.parametrize(
    ("tasks", "twice"),
    [([1, 2, 3], [1]), (list(range(1, 13)), list(range(1, 13)))],
    ids=["one by one", "in bulk"],
)
def test_what_two_workers_pushed_at_the_same_time_is_there_once_in_the_end(
    workbench: Workbench,
    studio: PredictionsStudio,
    monkeypatch: pytest.MonkeyPatch,
    tasks: list[int],
    twice: list[int],
) -> None:
    version = publish(workbench, tasks)
    stopped, go_on = threading.Event(), threading.Event()

    def stop_here() -> None:  # the request has left the first worker, and is not yet done
        studio.before_import = lambda: None
        stopped.set()
        assert go_on.wait(30)

    studio.before_import = stop_here
    monkeypatch.setattr(duplicates, "DELAY_SECONDS", 0.0)
    first = workbench.prepare("publish")
    with ThreadPoolExecutor(1) as other:
        running = other.submit(workbench.begin, "publish", first)
        assert stopped.wait(30)
        workbench.begin("publish", workbench.prepare("publish"))
        assert studio.by_task() == Counter(tasks)
        go_on.set()
        running.result()
    assert studio.by_task() == Counter(tasks + twice), "the moment that nobody can rule out"
    workbench.run("publish")
    assert studio.by_task() == Counter(tasks)
    with workbench.store.database.read() as db:
        assert predicted_tasks(db, workbench.project_id, version) == set(tasks)
