"""Several processes that write at once: what each has read holds until it has written."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from store.database.engine import Database
from store.database.locks import lock_content, lock_project
from store.database.schema import annotation, prediction, project, task, work
from store.predictions.publication_reason import PublicationReason
from store.predictions.publications import (
    PredictionItem,
    add_publication,
    pending_publications,
    save_predictions,
)
from store.predictions.shortlists import Choice, get_shortlist, set_shortlist
from store.projects.connections import DEFAULT
from store.projects.key_values import Key
from store.projects.projects import Project, change_project, get_project, save_project, serve
from store.store import Store
from store.tasks.annotations import AnnotationRecord, delete_annotations, save_annotations
from store.tasks.labelled import count_labelled, set_labelled, unmarked_tasks
from store.tasks.tasks import TaskRecord, list_tasks, save_tasks
from store.versions.versions import SERVED, list_versions, mark_served
from store.work import pending_work
from store.work.work_kind import WorkKind
from tests.support.versions import plain_version

PROCESSES = 4  # each with connections of its own
SECONDS = 60  # after which what waits has met nobody who will let it go


@pytest.fixture
def processes(store: Store) -> Iterator[list[Database]]:
    """Databases as that many processes open them."""
    opened = [Database(store.settings.database) for _ in range(PROCESSES)]
    yield opened
    for database in opened:
        database.close()


def all_at_once(
    processes: list[Database], writes: list[Callable[[Connection], Any]], seed: int = 0
) -> list[Any]:
    """Every process runs all writes, in an order of its own; returns the results."""

    def run(number: int) -> list[Any]:
        order = writes[:]
        random.Random(f"{seed} {number}").shuffle(order)
        futures = [processes[number].submit(write) for write in order]
        return [future.result(SECONDS) for future in futures]

    with ThreadPoolExecutor(len(processes)) as pool:
        return [result for results in pool.map(run, range(len(processes))) for result in results]


def read(store: Store, query: Any) -> list[Any]:
    with store.database.read() as db:
        return list(db.execute(query).all())


def record(ls_id: int, updated_at: float) -> AnnotationRecord:
    return AnnotationRecord(ls_id, ls_id % 5, 1.0, updated_at, [{"id": "r", "at": updated_at}])


def test_of_each_annotation_one_row_counts_and_it_is_the_newest(
    store: Store, project: Project, processes: list[Database]
) -> None:
    records = [record(ls_id, float(at)) for ls_id in range(1, 6) for at in range(2, 10)]
    writes = [
        lambda db, each=each: save_annotations(db, project.id, [each, record(99, each.updated_at)])
        for each in records
    ]
    all_at_once(processes, writes)
    rows = read(store, select(annotation.c.ls_id, annotation.c.updated_at, annotation.c.current))
    current = {row.ls_id: row.updated_at for row in rows if row.current}
    assert current == dict.fromkeys([1, 2, 3, 4, 5, 99], 9.0)
    assert sum(row.current for row in rows) == 6


def test_deleting_beside_saving_leaves_one_row_that_counts(
    store: Store, project: Project, processes: list[Database]
) -> None:
    saves = [
        lambda db, at=at: save_annotations(db, project.id, [record(1, float(at))])
        for at in range(2, 8)
    ]
    deletions = [lambda db: delete_annotations(db, project.id, [1])] * 3
    all_at_once(processes, [*saves, *deletions])
    rows = read(store, select(annotation.c.deleted).where(annotation.c.current))
    assert [row.deleted for row in rows] == [True]


def test_tasks_and_projects_that_come_from_all_sides_are_there_once(
    store: Store, project: Project, processes: list[Database]
) -> None:
    def tasks(db: Connection, first: int) -> None:
        records = [TaskRecord(i, {"image": "/a"}, "/a", 1.0) for i in range(first, first + 10)]
        save_tasks(db, project.id, records)

    def new_project(db: Connection, ls_id: int) -> int:
        return save_project(db, DEFAULT, ls_id, 5, title="x", label_config="<View/>").id

    writes = [lambda db, i=i: tasks(db, i) for i in range(1, 40, 5)]
    writes += [lambda db, i=i: new_project(db, i) for i in range(100, 104)]
    ids = [found for found in all_at_once(processes, writes) if found is not None]
    assert len(set(ids)) == 4
    with store.database.read() as db:
        listed = [found.ls_id for found in list_tasks(db, project.id)]
    assert listed == list(range(1, 46))


def test_each_wish_counts(store: Store, project: Project, processes: list[Database]) -> None:
    kinds = [WorkKind.LEARN, WorkKind.EMBED]
    writes = [lambda db, k=kind: pending_work.want(db, project.id, k) for kind in kinds] * 20
    all_at_once(processes, writes)
    rows = read(store, select(work.c.kind, work.c.wanted))
    assert {row.kind: row.wanted for row in rows} == dict.fromkeys(kinds, 20 * PROCESSES)


def test_of_jobs_that_begin_at_once_one_has_the_lease(
    store: Store, project: Project, processes: list[Database]
) -> None:
    store.database.write(lambda db: pending_work.want(db, project.id, WorkKind.LEARN))
    begin = [lambda db: pending_work.begin(db, project.id, WorkKind.LEARN, 1)] * 5
    leases = all_at_once(processes, begin)
    assert len({lease.fence for lease in leases}) == len(leases)
    kept = []
    for lease in leases:
        try:
            store.database.write(lambda db, lease=lease: pending_work.check(db, lease))
        except pending_work.LeaseLostError:
            continue
        kept.append(lease)
    assert kept == [max(leases, key=lambda lease: lease.fence)]


def test_a_lease_that_was_checked_lasts_until_the_commit(
    store: Store, project: Project, processes: list[Database]
) -> None:
    checked, go_on = threading.Event(), threading.Event()
    store.database.write(lambda db: pending_work.want(db, project.id, WorkKind.LEARN))
    lease = store.database.write(lambda db: pending_work.begin(db, project.id, WorkKind.LEARN, 1))

    def slow(db: Connection) -> None:
        pending_work.check(db, lease)
        checked.set()
        assert go_on.wait(SECONDS)
        pending_work.finish(db, lease)

    first = processes[0].submit(slow)
    assert checked.wait(SECONDS)
    second = processes[1].submit(lambda db: pending_work.begin(db, project.id, WorkKind.LEARN, 1))
    others = processes[2].submit(lambda db: pending_work.want(db, project.id, WorkKind.EMBED))
    if not store.database.is_sqlite:
        others.result(SECONDS)  # waits for nothing
        processes[3].write(lambda db: pending_work.want(db, project.id, WorkKind.LEARN))
    assert not second.done()
    go_on.set()
    first.result(SECONDS)
    if store.database.is_sqlite:
        with pytest.raises(pending_work.LeaseLostError):
            second.result(SECONDS)
    else:  # the wish that came meanwhile is left
        assert second.result(SECONDS).generation == 2
    others.result(SECONDS)


def new_version(db: Connection, project_id: int) -> Any:
    return plain_version(db, project_id, status="candidate", embedding_space="s", labels=1)


def test_the_newest_publication_is_served_and_nothing_else(
    store: Store, project: Project, processes: list[Database]
) -> None:
    versions = all_at_once(processes, [lambda db: new_version(db, project.id)] * 3)
    assert sorted(version.number for version in versions) == list(range(1, 13))

    def publish(db: Connection, version: Any) -> None:
        if serve(db, project.id, version.id, version.number):
            mark_served(db, version)

    all_at_once(processes, [lambda db, v=version: publish(db, v) for version in versions])
    with store.database.read() as db:
        served = get_project(db, project.id)
        statuses = Counter(version.status for version in list_versions(db, project.id))
    newest = max(versions, key=lambda version: version.number)
    assert (served.served_version_id, served.served_fence) == (newest.id, newest.number)
    assert statuses[SERVED] == 1


def test_a_task_has_one_prediction_of_a_version(
    store: Store, project: Project, processes: list[Database]
) -> None:
    version = store.database.write(lambda db: new_version(db, project.id))

    def save(db: Connection, source: str, tasks: list[int]) -> None:
        items = [PredictionItem(task, 0.5, []) for task in tasks]
        save_predictions(db, project.id, version.id, items, source)

    writes = [
        lambda db, i=i: save(db, f"s{i}", random.Random(i).sample(range(1, 30), 12))
        for i in range(12)
    ]
    all_at_once(processes, writes)
    rows = read(
        store, select(prediction.c.task_ls_id, func.count()).group_by(prediction.c.task_ls_id)
    )
    assert set(dict(map(tuple, rows)).values()) == {1}


def test_one_shortlist_is_active_and_one_version_is_on_its_way(
    store: Store, project: Project, processes: list[Database]
) -> None:
    version = store.database.write(lambda db: new_version(db, project.id))

    def decide(db: Connection, first: int) -> None:
        add_publication(db, project.id, version.id, PublicationReason.VERSION, [])
        choices = [Choice(task, "margin", None) for task in range(first, first + 3)]
        set_shortlist(db, project.id, version.id, choices)

    all_at_once(processes, [lambda db, i=i: decide(db, i) for i in range(0, 30, 10)])
    with store.database.read() as db:
        assert len(get_shortlist(db, project.id)) == 3
        assert len(pending_publications(db, project.id)) == 1


def test_what_one_sets_of_a_project_no_other_undoes(
    store: Store, project: Project, processes: list[Database]
) -> None:
    def set_title(db: Connection) -> None:
        save_project(db, DEFAULT, project.ls_id, project.ls_created, title="new title")

    def set_config(db: Connection) -> None:
        save_project(
            db, DEFAULT, project.ls_id, project.ls_created, label_config="<View>new</View>"
        )

    for _ in range(5):
        store.database.write(
            lambda db: change_project(db, project.id, title="", label_config="<View/>")
        )
        all_at_once(processes[:2], [set_title, set_config])
        with store.database.read() as db:
            found = get_project(db, project.id)
        assert (found.title, found.label_config) == ("new title", "<View>new</View>")


def test_a_mark_that_counts_labels_is_never_older_than_they_are(
    store: Store, project: Project, processes: list[Database]
) -> None:
    ids = list(range(1, 41))
    store.database.write(
        lambda db: save_tasks(db, project.id, [TaskRecord(i, {}, "/a", 1.0) for i in ids])
    )

    def label(db: Connection, task: int) -> None:
        save_annotations(db, project.id, [AnnotationRecord(task, task, 1.0, 1.0, [{"id": "r"}])])

    def mark(db: Connection) -> None:
        lock_content(db, project.id)
        unmarked = unmarked_tasks(db, project.id)
        query = select(annotation.c.task_ls_id).where(annotation.c.task_ls_id.in_(unmarked))
        labelled = set(db.execute(query).scalars())
        set_labelled(db, project.id, labelled, unmarked - labelled)

    all_at_once(processes, [lambda db, i=i: label(db, i) for i in ids] + [mark] * 10)
    store.database.write(mark)
    with store.database.read() as db:
        assert count_labelled(db, project.id) == 40


def test_transactions_that_wait_for_each_other_are_run_again(
    store: Store, processes: list[Database]
) -> None:
    if store.database.is_sqlite:
        pytest.skip("SQLite has one writer at a time")
    store.database.write(lambda db: (Key("a").set(db, 0), Key("b").set(db, 0)))
    meeting = threading.Barrier(2)
    tries: list[str] = []

    def both(db: Connection, one: str, other: str) -> None:
        tries.append(one)
        Key(one).set(db, (Key(one).lock(db) or 0) + 1)
        if tries.count(one) == 1:
            meeting.wait(SECONDS)
        Key(other).set(db, (Key(other).lock(db) or 0) + 1)

    futures = [
        processes[0].submit(lambda db: both(db, "a", "b")),
        processes[1].submit(lambda db: both(db, "b", "a")),
    ]
    for future in futures:
        future.result(SECONDS)
    with store.database.read() as db:
        assert (Key("a").get(db), Key("b").get(db)) == (2, 2)
    assert len(tries) > 2


def test_a_reader_sees_one_moment(
    store: Store, project: Project, processes: list[Database]
) -> None:
    count = select(func.count()).select_from(task)
    with store.database.read() as db:
        before = db.execute(count).scalar_one()
        processes[0].write(lambda db: save_tasks(db, project.id, [TaskRecord(1, {}, "/a", 1.0)]))
        assert db.execute(count).scalar_one() == before
    with store.database.read() as db:
        assert db.execute(count).scalar_one() == before + 1


def test_writers_of_different_projects_do_not_wait_for_each_other(
    store: Store, project: Project, processes: list[Database]
) -> None:
    if store.database.is_sqlite:
        pytest.skip("SQLite has one writer at a time")
    held, release = threading.Event(), threading.Event()

    def hold(db: Connection) -> None:
        lock_project(db, project.id)
        save_tasks(db, project.id, [TaskRecord(1, {}, "/a", 1.0)])
        held.set()
        assert release.wait(SECONDS)

    slow = processes[0].submit(hold)
    assert held.wait(SECONDS)
    other = processes[1].write(
        lambda db: save_project(db, DEFAULT, 8, 1000, title="Dogs", label_config="<View/>")
    )
    processes[1].write(lambda db: save_tasks(db, other.id, [TaskRecord(1, {}, "/a", 1.0)]))
    # The same project's other rows, too: a job's progress, a served answer.
    processes[1].write(lambda db: pending_work.want(db, project.id, WorkKind.LEARN))
    assert not slow.done()
    release.set()
    slow.result(SECONDS)


def test_processes_that_start_at_once_make_one_schema(postgres_server: Any) -> None:
    name = postgres_server.create_database()
    opened = [Database(postgres_server.url(name)) for _ in range(PROCESSES)]
    with ThreadPoolExecutor(PROCESSES) as pool:
        list(pool.map(Database.migrate, opened))
    assert all(database.is_current() for database in opened)
    with opened[0].read() as db:
        assert db.execute(select(func.count()).select_from(project)).scalar_one() == 0
    for database in opened:
        database.close()
    postgres_server.drop_database(name)
