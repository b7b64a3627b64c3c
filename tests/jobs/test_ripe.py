"""When a new version would matter."""

import pytest

from backend.sweeper import learn_is_ripe
from store import work
from store.projects import serve
from store.versions import HEAD, add_version
from tests.jobs.workbench import SPACE, Workbench


@pytest.fixture
def served(workbench: Workbench) -> Workbench:
    """A project that serves a version made from 200 labels."""

    def write(db):
        version = add_version(
            db,
            workbench.project_id,
            kind=HEAD,
            status="served",
            embedding_space=SPACE,
            labels=200,
            labels_digest="",
            metrics={},
            verdict="",
            artifact=None,
        )
        serve(db, workbench.project_id, version.id, 1)

    workbench.store.database.write(write)
    return workbench


def ripe(bench: Workbench, *, labels: int, quiet: float) -> bool:
    """After so many new labels, `quiet` seconds after the last."""
    for _ in range(labels):
        bench.store.database.write(lambda db: work.want(db, bench.project_id, "learn"))
    with bench.store.database.read() as db:
        item = work.get_work(db, bench.project_id, "learn")
        assert item is not None
        return learn_is_ripe(db, item, bench.store.settings, item.touched_at + quiet)


def test_the_first_version_waits_for_no_pause(workbench: Workbench) -> None:
    assert ripe(workbench, labels=1, quiet=0.4)


def test_enough_labels_make_a_version_at_once(served: Workbench) -> None:
    assert ripe(served, labels=10, quiet=0.4)  # 5% of 200


def test_fewer_labels_wait_for_a_pause(served: Workbench) -> None:
    assert not ripe(served, labels=3, quiet=1.0)
    assert ripe(served, labels=0, quiet=2.1)
