"""How many requests a push takes, by what such requests took lately."""

from collections import Counter
from collections.abc import Iterator

import pytest

from services.publishing.push_costs import MOST_SINGLE, PUSH_COSTS, PushCosts
from store.predictions.publication_reason import PublicationReason
from store.predictions.publications import (
    CHUNK_ITEMS,
    PredictionItem,
    add_publication,
    pending_publications,
)
from store.projects.connections import DEFAULT, save_connection
from store.versions.versions import CANDIDATE, HEAD, add_version
from tests.support.predictions_studio import PredictionsStudio
from tests.support.scripted_studio import LEGACY_TOKEN, ScriptedServer
from tests.support.workbench import CLASSES, SPACE, Workbench, region

SINGLE, IMPORT = "/api/predictions/", "/api/projects/1/import/predictions"
QUICK_IMPORT, SLOW_IMPORT = PushCosts(0.02, 0.03), PushCosts(0.02, 4.0)


@pytest.fixture
def studio(workbench: Workbench) -> Iterator[PredictionsStudio]:
    with ScriptedServer() as server:
        workbench.store.database.write(
            lambda db: save_connection(db, DEFAULT, server.url, LEGACY_TOKEN)
        )
        yield PredictionsStudio(server)


def assume(bench: Workbench, costs: PushCosts) -> None:
    bench.store.database.write(lambda db: PUSH_COSTS.of(bench.project_id).set(db, costs))


def publish(bench: Workbench, count: int) -> None:
    """Push a version's predictions of so many tasks."""

    def write(db):
        version = add_version(
            db,
            bench.project_id,
            kind=HEAD,
            status=CANDIDATE,
            embedding_space=SPACE,
            labels=3,
            labels_digest="",
            metrics={},
            verdict="",
            artifact=None,
        )
        cat = [region("kind", "choices", ["cat"])]
        items = [PredictionItem(task, 0.01 * task, cat) for task in range(1, count + 1)]
        add_publication(db, bench.project_id, version.id, PublicationReason.VERSION, items)

    bench.store.database.write(write)
    bench.run("publish")


@pytest.mark.parametrize(
    ("costs", "count", "singles"),
    [
        (PushCosts(), 4, 4),
        (PushCosts(), MOST_SINGLE + 1, 0),
        (SLOW_IMPORT, MOST_SINGLE, MOST_SINGLE),
        (QUICK_IMPORT, 1, 1),
        (QUICK_IMPORT, 4, 0),
    ],
)
def test_few_predictions_are_pushed_by_whatever_costs_less(
    workbench: Workbench, studio: PredictionsStudio, costs: PushCosts, count: int, singles: int
) -> None:
    assume(workbench, costs)
    publish(workbench, count)
    assert studio.by_task() == Counter(range(1, count + 1))
    assert len([path for path in studio.changes() if path == SINGLE]) == singles
    assert len([path for path in studio.changes() if path == IMPORT]) == (singles == 0)


def test_what_a_push_takes_is_remembered(workbench: Workbench, studio: PredictionsStudio) -> None:
    def costs() -> PushCosts:
        with workbench.store.database.read() as db:
            return PUSH_COSTS.of(workbench.project_id).get(db) or PushCosts()

    assume(workbench, PushCosts(single=100.0, bulk=500.0))
    publish(workbench, 2)
    assert 50.0 < costs().single < 51.0, "the newest push counts half"
    assert costs().bulk == 500.0
    publish(workbench, MOST_SINGLE + 1)
    assert 250.0 < costs().bulk < 251.0
    assert 50.0 < costs().single < 51.0


def test_the_tasks_that_are_next_go_first_where_an_import_is_slow() -> None:
    assert PushCosts().first_push(4) == 4
    assert SLOW_IMPORT.first_push(4) == 4
    assert QUICK_IMPORT.first_push(4) == CHUNK_ITEMS
    assert SLOW_IMPORT.first_push(MOST_SINGLE + 1) == CHUNK_ITEMS, "they are imported anyway"


@pytest.mark.parametrize(("costs", "publications"), [(QUICK_IMPORT, 1), (SLOW_IMPORT, 2)])
def test_a_version_with_all_its_predictions_is_one_import_where_that_is_quick(
    workbench: Workbench, costs: PushCosts, publications: int
) -> None:
    assume(workbench, costs)
    for name in CLASSES:
        workbench.annotate(workbench.tasks_of(name, 5))
    workbench.run("learn")
    with workbench.store.database.read() as db:
        pending = pending_publications(db, workbench.project_id)
    assert pending[0].reason is PublicationReason.VERSION
    assert len(pending) == publications
