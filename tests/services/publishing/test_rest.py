"""The rest of a new version's shortlist waits, and is given up for the next version."""

from collections import Counter
from collections.abc import Iterator

import pytest

from services.publishing.push_order import REST_SECONDS
from store.predictions.publication_reason import PublicationReason
from store.predictions.publications import (
    PredictionItem,
    add_publication,
    coming_scores,
    pending_publications,
    predicted_tasks,
)
from store.versions.versions import change_version, get_version
from store.work.pending_work import get_work
from tests.support.predictions_studio import PredictionsStudio, predictions_studio
from tests.support.versions import plain_version
from tests.support.workbench import Workbench, region

FIRST, REST = [1, 2, 3], list(range(4, 31))
VERSION, WAITING = PublicationReason.VERSION, PublicationReason.REST


@pytest.fixture
def studio(workbench: Workbench) -> Iterator[PredictionsStudio]:
    with predictions_studio(workbench.store) as scripted:
        yield scripted


def publish(bench: Workbench) -> int:
    """A version with its first predictions and the rest; its id."""

    def write(db):
        version = plain_version(db, bench.project_id)
        for reason, tasks in ((VERSION, FIRST), (WAITING, REST)):
            items = [
                PredictionItem(task, 0.01 * task, [region("kind", "choices", ["cat"])])
                for task in tasks
            ]
            add_publication(db, bench.project_id, version.id, reason, items)
        return version.id

    return bench.store.database.write(write)


def let_pass(bench: Workbench, version: int) -> None:
    """As if the version had been served for as long as the rest waits."""

    def write(db):
        served = get_version(db, version)
        assert served is not None
        assert served.published_at is not None
        change_version(db, version, published_at=served.published_at - REST_SECONDS)

    bench.store.database.write(write)


def test_the_version_is_served_before_the_rest_is_pushed(
    workbench: Workbench, studio: PredictionsStudio
) -> None:
    version = publish(workbench)
    workbench.run("publish")
    assert studio.by_task() == Counter(FIRST)
    assert workbench.project.served_version_id == version
    with workbench.store.database.read() as db:
        work, served = get_work(db, workbench.project_id, "publish"), get_version(db, version)
        coming = coming_scores(db, workbench.project_id, version)
    assert coming.keys() == set(REST), "their places are taken already"
    assert work is not None
    assert served is not None
    assert served.published_at is not None
    assert work.wanted > work.done
    assert work.not_before == pytest.approx(served.published_at + REST_SECONDS)


def test_the_rest_follows_once(workbench: Workbench, studio: PredictionsStudio) -> None:
    version = publish(workbench)
    workbench.run("publish")
    let_pass(workbench, version)
    workbench.run("publish")
    workbench.run("publish")
    assert studio.by_task() == Counter(FIRST + REST)
    with workbench.store.database.read() as db:
        assert predicted_tasks(db, workbench.project_id, version) == {*FIRST, *REST}
        assert not pending_publications(db, workbench.project_id)


def test_the_rest_of_a_version_is_given_up_for_the_next_version(
    workbench: Workbench, studio: PredictionsStudio
) -> None:
    first = publish(workbench)
    workbench.run("publish")
    second = publish(workbench)
    workbench.run("publish")
    let_pass(workbench, first)
    let_pass(workbench, second)
    workbench.run("publish")
    assert studio.by_task() == Counter(FIRST + FIRST + REST)
    with workbench.store.database.read() as db:
        assert predicted_tasks(db, workbench.project_id, first) == set(FIRST)
