"""Projects whose shortlists are labelled one after the other, and the advice that follows."""

from sqlalchemy import Connection

from model.active_learning.advice import Advice
from services.advice import newest_advice
from store.predictions.shortlists import get_shortlist
from store.projects.projects import change_project
from store.versions.versions import REFUSED, Version, mark_served, newest_version
from tests.support.versions import plain_version
from tests.support.workbench import Workbench


def advice_of(bench: Workbench) -> Advice:
    with bench.store.database.read() as db:
        found = newest_advice(db, bench.project_id)
    assert found is not None
    return found


def newest_id(bench: Workbench) -> int:
    with bench.store.database.read() as db:
        version = newest_version(db, bench.project_id)
    assert version is not None
    return version.id


def shortlist_of(bench: Workbench) -> list[int]:
    with bench.store.database.read() as db:
        return get_shortlist(db, bench.project_id)


def label_lists(bench: Workbench, lists: int, each: int) -> None:
    """Label the beginning of one shortlist after the other, as people do."""
    for index in range(lists):
        tasks = shortlist_of(bench)[:each]
        bench.annotate({task: bench.truth[task] for task in tasks}, at=10.0 + index)
        learn(bench)


def learn(bench: Workbench) -> None:
    """Learn, and serve what was learned, as publishing does in the end."""
    bench.run("learn")

    def serve(db: Connection) -> None:
        version = newest_version(db, bench.project_id)
        if version is not None and version.artifact is not None:
            change_project(db, bench.project_id, served_version_id=version.id)
            mark_served(db, version)

    bench.store.database.write(serve)


def refused_version(db: Connection, bench: Workbench, labels: int) -> Version:
    return plain_version(
        db, bench.project_id, status=REFUSED, labels=labels, labels_digest=str(labels)
    )
