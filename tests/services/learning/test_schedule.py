"""When a new version would matter."""

import time

import pytest

from services.learning.schedule import learning_is_due
from services.publishing.rate_limit import draw
from store.predictions.publications import add_publication
from store.projects.projects import serve
from store.work import pending_work
from tests.support.versions import plain_version
from tests.support.workbench import Workbench


@pytest.fixture
def served(workbench: Workbench) -> Workbench:
    """A project that serves a version made from 200 labels."""

    def write(db):
        version = plain_version(db, workbench.project_id, status="served", labels=200)
        serve(db, workbench.project_id, version.id, 1)

    workbench.store.database.write(write)
    return workbench


def ripe(bench: Workbench, *, labels: int, quiet: float) -> bool:
    """After so many new labels, `quiet` seconds after the last."""
    for _ in range(labels):
        bench.store.database.write(lambda db: pending_work.want(db, bench.project_id, "learn"))
    with bench.store.database.read() as db:
        item = pending_work.get_work(db, bench.project_id, "learn")
        assert item is not None
        return learning_is_due(db, item, bench.store.settings, item.touched_at + quiet)


def test_the_first_version_waits_for_no_pause(workbench: Workbench) -> None:
    assert ripe(workbench, labels=1, quiet=0.4)


def test_enough_labels_make_a_version_at_once(served: Workbench) -> None:
    assert ripe(served, labels=10, quiet=0.4)  # 5% of 200


def test_a_single_label_is_learned_from_at_once(served: Workbench) -> None:
    assert ripe(served, labels=1, quiet=0.0)


def test_fewer_labels_wait_for_a_pause_while_label_studio_s_time_is_scarce(
    served: Workbench,
) -> None:
    served.store.database.write(lambda db: draw(db, served.project_id, 4.0, 0.1))
    assert not ripe(served, labels=3, quiet=1.0)
    assert ripe(served, labels=0, quiet=2.1)


def test_no_version_is_made_while_another_is_on_its_way(served: Workbench) -> None:
    version_id = served.project.served_version_id
    assert version_id is not None
    served.store.database.write(
        lambda db: add_publication(db, served.project_id, version_id, "version", [])
    )
    assert not ripe(served, labels=20, quiet=3.0)


def test_a_burst_of_pushes_is_free_and_an_hour_of_them_is_not(workbench: Workbench) -> None:
    def push(seconds: float) -> float:
        rested = workbench.store.database.write(
            lambda db: draw(db, workbench.project_id, seconds, 0.1)
        )
        return rested - time.time()

    assert max(push(1.0) for _ in range(5)) <= 0.0
    assert push(2.0) > 5.0
    assert push(2.0) > 25.0
