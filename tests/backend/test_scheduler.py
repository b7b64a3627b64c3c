"""The scheduler, with a real broker: what is wanted becomes a job, once, whatever gets lost."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis

from backend.scheduler import Scheduler
from services.sync.poll_report import POLL_REPORT, PollReport
from store.projects.projects import change_project
from store.work import pending_work
from store.work.jobs import Job, change_job, list_jobs
from store.work.work_kind import WorkKind
from tests.support.workbench import Workbench
from worker.queues.broker import redis_from_url, running_broker
from worker.queues.enqueue import open_queue
from worker.queues.job_state import job_state
from worker.queues.store_claim import ForeignQueuesError


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    with running_broker(tmp_path / "broker-home") as url:
        connection = redis_from_url(url)
        yield connection
        connection.close()


@pytest.fixture
def scheduler(workbench: Workbench, redis: Redis) -> Scheduler:
    made = Scheduler(workbench.store, redis)
    reconcile(workbench)
    return made


def reconcile(bench: Workbench) -> None:
    """The store is in line with Label Studio just now."""
    now = time.time()
    bench.store.database.write(lambda db: change_project(db, bench.project_id, reconciled_at=now))


def want(bench: Workbench, kind: str = "embed", times: int = 1) -> None:
    for _ in range(times):
        bench.store.database.write(lambda db: pending_work.want(db, bench.project_id, kind))


def jobs(bench: Workbench) -> list[Job]:
    with bench.store.database.read() as db:
        return list_jobs(db, bench.project_id, 100)


def do(bench: Workbench, kind: str = "embed") -> None:
    def write(db):
        pending_work.finish(db, pending_work.begin(db, bench.project_id, kind, 1))

    bench.store.database.write(write)


def test_a_wish_becomes_one_job(workbench: Workbench, scheduler: Scheduler, redis: Redis) -> None:
    want(workbench)
    for _ in range(3):
        scheduler.run_once()
    (job,) = jobs(workbench)
    assert open_queue(redis, "embed").job_ids == [job.id]


def test_rounds_of_several_threads_enqueue_one_job(
    workbench: Workbench, scheduler: Scheduler, redis: Redis
) -> None:
    for kind in ("sync", "embed", "finetune"):
        want(workbench, kind)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: scheduler.run_once(), range(16)))
        assert [job.state for job in jobs(workbench) if job.kind == kind] == ["queued"]


def test_two_that_both_believe_to_lead_enqueue_one_job(
    workbench: Workbench, scheduler: Scheduler, redis: Redis
) -> None:
    other = Scheduler(workbench.store, redis)
    want(workbench)
    database = workbench.store.database

    def after_the_other(write):  # the other's round, between our reading and our writing
        database.write = plain
        other.run_once()
        return plain(write)

    plain, database.write = database.write, after_the_other
    scheduler.run_once()
    enqueued = [job for job in jobs(workbench) if job.kind == "embed"]
    assert [job.state for job in enqueued] == ["queued"]
    assert open_queue(redis, "embed").job_ids == [enqueued[0].id]


def test_a_job_that_was_enqueued_late_does_not_run_beside_its_successor(
    workbench: Workbench, scheduler: Scheduler, redis: Redis
) -> None:
    """A web process that was stopped between its commit and its call to the broker."""
    want(workbench)
    scheduler.run_once()
    (late,) = jobs(workbench)
    redis.flushall()  # as if it were not enqueued yet
    scheduler.run_once()
    successor = max(jobs(workbench), key=lambda job: job.generation)
    assert successor.id != late.id

    def begin(generation: int):
        return workbench.store.database.write(
            lambda db: pending_work.begin(db, workbench.project_id, "embed", generation)
        )

    with pytest.raises(pending_work.LeaseLostError, match="later job"):
        begin(late.generation)
    assert begin(successor.generation).job_id == successor.id


def test_queues_of_another_database_are_left_alone(
    workbench: Workbench, scheduler: Scheduler, redis: Redis
) -> None:
    redis.set("apprentice:store", "another-database another-machine", ex=60)
    want(workbench)
    with pytest.raises(ForeignQueuesError, match="APPRENTICE_REDIS_URL"):
        scheduler.run_once()
    assert jobs(workbench) == []
    redis.delete("apprentice:store")
    scheduler.run_once()
    assert [job.kind for job in jobs(workbench)] == ["embed"]


def test_a_job_cancelled_while_it_is_looked_for_stays_cancelled(
    workbench: Workbench, scheduler: Scheduler, redis: Redis
) -> None:
    want(workbench)
    scheduler.run_once()
    redis.flushall()
    database = workbench.store.database
    (enqueued,) = jobs(workbench)

    def cancel(db):
        pending_work.cancel(db, workbench.project_id, "embed")
        change_job(db, enqueued.id, state="cancelled", ended_at=1.0)

    def cancel_first(write):
        database.write = plain
        database.write(cancel)
        return plain(write)

    plain, database.write = database.write, cancel_first
    scheduler.run_once()
    assert [job.state for job in jobs(workbench)] == ["cancelled"]


def test_a_burst_during_a_job_gives_one_follow_up(
    workbench: Workbench, scheduler: Scheduler, redis: Redis
) -> None:
    want(workbench)
    scheduler.run_once()
    lease = workbench.store.database.write(
        lambda db: pending_work.begin(db, workbench.project_id, "embed", 1)
    )
    for _ in range(10):
        want(workbench, times=10)
        scheduler.run_once()
    assert len(jobs(workbench)) == 1
    workbench.store.database.write(lambda db: pending_work.finish(db, lease))
    for _ in range(3):
        scheduler.run_once()
    assert len(jobs(workbench)) == 2


def test_a_job_that_vanished_is_enqueued_under_a_new_id(
    workbench: Workbench, scheduler: Scheduler, redis: Redis
) -> None:
    want(workbench)
    scheduler.run_once()
    (lost,) = jobs(workbench)
    redis.flushall()
    assert job_state(redis, lost.id) is None
    scheduler.run_once()
    states = {job.id: job.state for job in jobs(workbench)}
    assert states.pop(lost.id) == "lost"
    assert list(states.values()) == ["queued"]


def test_a_job_whose_process_ends_each_time_is_tried_ever_more_rarely(
    workbench: Workbench, scheduler: Scheduler, redis: Redis
) -> None:
    """As one that the system kills for the memory that it takes."""

    def start_and_vanish() -> None:
        newest = max(jobs(workbench), key=lambda job: job.generation)
        workbench.store.database.write(lambda db: change_job(db, newest.id, started_at=1.0))
        redis.flushall()

    want(workbench)
    scheduler.run_once()
    start_and_vanish()
    scheduler.run_once()
    assert len(jobs(workbench)) == 2, "at first at once"
    start_and_vanish()
    scheduler.run_once()
    scheduler.run_once()
    assert len(jobs(workbench)) == 2, "then after a while"
    with workbench.store.database.read() as db:
        item = pending_work.get_work(db, workbench.project_id, "embed")
    assert item is not None
    assert item.not_before > time.time()
    assert "process ended" in str(item.error)


def test_nothing_is_enqueued_before_its_time(workbench: Workbench, scheduler: Scheduler) -> None:
    later = time.time() + 60
    workbench.store.database.write(
        lambda db: pending_work.want(db, workbench.project_id, "embed", not_before=later)
    )
    scheduler.run_once()
    assert jobs(workbench) == []


def test_a_project_is_reconciled_when_it_is_due(workbench: Workbench, scheduler: Scheduler) -> None:
    scheduler.run_once()
    assert jobs(workbench) == []
    workbench.store.database.write(
        lambda db: change_project(db, workbench.project_id, reconciled_at=time.time() - 61)
    )
    scheduler.run_once()
    assert [job.kind for job in jobs(workbench)] == ["sync"]
    do(workbench, "sync")


def test_a_start_asks_what_happened_while_nobody_listened(
    workbench: Workbench, redis: Redis
) -> None:
    reconcile(workbench)
    project_id, database = workbench.project_id, workbench.store.database
    scheduler = Scheduler(workbench.store, redis)
    for _ in range(3):
        scheduler.run_once()
    assert [job.kind for job in jobs(workbench)] == ["sync"]
    do(workbench, "sync")
    reconcile(workbench)
    scheduler.run_once()
    assert len(jobs(workbench)) == 1
    assert not workbench.store.database.write(
        lambda db: pending_work.cancel(db, project_id, "sync")
    )

    database.write(lambda db: pending_work.want(db, project_id, "sync"))
    database.write(lambda db: pending_work.fail(db, project_id, "sync", "Label Studio is away"))
    scheduler.run_once()
    assert len(jobs(workbench)) == 1, "it waits after the failure"
    again = Scheduler(workbench.store, redis)
    for _ in range(3):
        again.run_once()
    assert len(jobs(workbench)) == 2, "a start waits no longer"


def test_a_project_that_is_gone_is_left_alone(workbench: Workbench, scheduler: Scheduler) -> None:
    want(workbench)
    workbench.store.database.write(
        lambda db: change_project(db, workbench.project_id, gone_at=1.0, reconciled_at=None)
    )
    scheduler.run_once()
    assert jobs(workbench) == []


def test_it_goes_on_when_the_broker_was_away(workbench: Workbench, tmp_path: Path) -> None:
    home = tmp_path / "late-broker"
    with running_broker(home) as url:
        pass
    want(workbench)
    connection = redis_from_url(url, retries=0)
    scheduler = Scheduler(workbench.store, connection)
    scheduler.start()
    try:
        with running_broker(home):
            deadline = time.monotonic() + 30
            while not open_queue(connection, "embed").job_ids:
                assert time.monotonic() < deadline
                scheduler.wake()
                time.sleep(0.1)
    finally:
        scheduler.stop()
        connection.close()


def test_a_project_that_a_poller_watches_is_read_as_a_whole_ten_times_as_rarely(
    workbench: Workbench, scheduler: Scheduler
) -> None:
    workbench.store.settings.reconcile_seconds = 60.0
    scheduler._led_since = 1.0  # no web process has started since the last time

    def syncs(*, reported: float, reconciled: float) -> int:
        """Seconds ago, both; the jobs that a round makes."""
        now, project_id = time.time(), workbench.project_id

        def write(db):
            POLL_REPORT.of(project_id).set(db, PollReport(4.0, 0.003, now - reported))
            change_project(db, project_id, reconciled_at=now - reconciled)
            pending_work.cancel(db, project_id, WorkKind.SYNC)

        workbench.store.database.write(write)
        before = len(jobs(workbench))
        scheduler.run_once()
        return len(jobs(workbench)) - before

    assert syncs(reported=10, reconciled=120) == 0
    assert syncs(reported=10, reconciled=660) == 1
    assert syncs(reported=600, reconciled=120) == 1, "the poller has stopped"
