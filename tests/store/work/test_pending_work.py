"""Work: a burst of wishes gives one follow-up job, and a job that was overtaken stops."""

import pytest

from store.projects.connections import DEFAULT, save_connection
from store.projects.projects import Project, change_project
from store.store import Store
from store.work import pending_work
from store.work.jobs import (
    CANCELLED,
    FAILED,
    FINISHED,
    QUEUED,
    STARTED,
    add_job,
    cancel_jobs,
    change_job,
    end_job,
    get_job,
)


def wish(store: Store, project: Project, times: int = 1) -> None:
    for _ in range(times):
        store.database.write(lambda db: pending_work.want(db, project.id, "learn"))


def wanted(store: Store) -> list[pending_work.Work]:
    with store.database.read() as db:
        return pending_work.list_wanted(db)


def begin(store: Store, project: Project, generation: int = 1) -> pending_work.Lease:
    return store.database.write(lambda db: pending_work.begin(db, project.id, "learn", generation))


def finish(store: Store, lease: pending_work.Lease) -> None:
    store.database.write(lambda db: pending_work.finish(db, lease))


def test_what_is_done_is_wanted_no_more(store: Store, project: Project) -> None:
    wish(store, project)
    finish(store, begin(store, project))
    assert wanted(store) == []


def test_a_hundred_wishes_during_a_job_leave_one_to_do(store: Store, project: Project) -> None:
    wish(store, project)
    lease = begin(store, project)
    wish(store, project, 100)
    finish(store, lease)
    assert len(wanted(store)) == 1
    finish(store, begin(store, project))
    assert wanted(store) == []


def test_generations_are_never_used_twice(store: Store, project: Project) -> None:
    wish(store, project)
    used = set()
    for _ in range(5):
        (item,) = wanted(store)
        used.add(store.database.write(lambda db, item=item: pending_work.next_generation(db, item)))
    assert len(used) == 5


def test_an_overtaken_job_may_not_finish(store: Store, project: Project) -> None:
    wish(store, project)
    old = begin(store, project)
    begin(store, project)
    with pytest.raises(pending_work.LeaseLostError):
        finish(store, old)
    assert len(wanted(store)) == 1


def test_failures_wait_longer_and_longer(store: Store, project: Project) -> None:
    wish(store, project)
    waits = []
    for _ in range(4):
        store.database.write(lambda db: pending_work.fail(db, project.id, "learn", "no route"))
        waits.append(wanted(store)[0].not_before)
    assert waits == sorted(waits)
    assert wanted(store)[0].error == "no route"


def test_what_was_given_up_is_no_failure_of_the_next_wish(store: Store, project: Project) -> None:
    wish(store, project)
    finish(store, begin(store, project))
    store.database.write(lambda db: pending_work.fail(db, project.id, "learn", "too few labels"))
    wish(store, project)
    (item,) = wanted(store)
    assert (item.failures, item.error, item.not_before) == (0, None, 0.0)


def test_a_new_token_ends_the_waits_after_failures(store: Store, project: Project) -> None:
    wish(store, project)
    store.database.write(
        lambda db: pending_work.fail(db, project.id, "learn", "401, Invalid token.")
    )
    store.database.write(lambda db: save_connection(db, DEFAULT, "http://elsewhere", "new"))
    (item,) = wanted(store)
    assert (item.failures, item.error, item.not_before) == (0, None, 0.0)


def test_nothing_is_wanted_of_a_project_that_is_gone(store: Store, project: Project) -> None:
    wish(store, project)
    store.database.write(lambda db: change_project(db, project.id, gone_at=1.0))
    assert wanted(store) == []


def start_job(store: Store, project: Project, generation: int) -> str:
    def write(db) -> str:
        started = add_job(db, project.id, "learn", generation)
        change_job(db, started, state=STARTED)
        return started

    return store.database.write(write)


def job_state(store: Store, job: str) -> str:
    with store.database.read() as db:
        known = get_job(db, job)
    assert known is not None
    assert (known.ended_at is None) == (known.state in (QUEUED, STARTED))
    return known.state


def test_a_job_ends_with_its_work(store: Store, project: Project) -> None:
    """Whatever kills its process afterwards, it isn't shown as running for good."""
    wish(store, project)
    job = start_job(store, project, 1)
    finish(store, begin(store, project, 1))
    assert job_state(store, job) == FINISHED
    store.database.write(lambda db: end_job(db, job, state=FAILED, error="no disk"))
    assert job_state(store, job) == FAILED, "what follows its work may fail"
    store.database.write(lambda db: end_job(db, job, state=FINISHED))
    assert job_state(store, job) == FAILED


def test_a_job_that_was_left_running_ends_when_the_next_begins(
    store: Store, project: Project
) -> None:
    wish(store, project)
    finish(store, begin(store, project, 1))
    left, waiting = start_job(store, project, 1), start_job(store, project, 2)
    store.database.write(lambda db: change_job(db, waiting, state=QUEUED))
    wish(store, project)
    begin(store, project, 2)
    assert job_state(store, left) == FINISHED
    assert job_state(store, waiting) == QUEUED


def test_a_cancelled_job_stays_cancelled(store: Store, project: Project) -> None:
    wish(store, project)
    job = start_job(store, project, 1)
    lease = begin(store, project, 1)

    def cancel(db) -> None:
        pending_work.cancel(db, project.id, "learn")
        cancel_jobs(db, project.id, "learn")

    store.database.write(cancel)
    with pytest.raises(pending_work.LeaseLostError):
        finish(store, lease)
    store.database.write(lambda db: end_job(db, job, state=FINISHED))
    assert job_state(store, job) == CANCELLED
