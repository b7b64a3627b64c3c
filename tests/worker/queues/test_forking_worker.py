import os
import signal

import psutil
import pytest
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY

from tests.support.workshop import PATIENCE_SECONDS, Workshop, eventually
from worker.queues.broker import Broker
from worker.queues.dead_workers import remove_dead_workers
from worker.queues.enqueue import enqueue, open_queue
from worker.queues.job_state import JobState, job_state
from worker.queues.worker_loop import run_worker
from worker.queues.worker_registry import claims_key, live_workers, parse_worker_name, worker_name
from worker.supervision.process_identity import ProcessIdentity, start_time


def reaches(shop: Workshop, job: str, state: JobState | None) -> None:
    eventually(lambda: job_state(shop.connection, job) is state, f"{job} is {state}")


def test_a_job_runs_in_a_fork_of_the_worker(workshop: Workshop) -> None:
    worker = workshop.start_worker()
    job = enqueue(workshop.connection, "note", 5, 1)
    reaches(workshop, job, JobState.FINISHED)
    notes = workshop.notes()
    assert notes["note-5-g1"] != worker.pid
    assert notes["forked"] == notes["note-5-g1"]
    assert notes["preloaded"] == worker.pid


def test_a_worker_has_one_thread_to_fork_from(workshop: Workshop) -> None:
    worker = workshop.start_worker()
    reaches(workshop, enqueue(workshop.connection, "note", 5, 1), JobState.FINISHED)
    assert psutil.Process(worker.pid).num_threads() == 1


def test_states_from_the_queue_to_the_end(workshop: Workshop) -> None:
    assert job_state(workshop.connection, "wait-5-g1") is None
    job = enqueue(workshop.connection, "wait", 5, 1)
    assert job_state(workshop.connection, job) is JobState.QUEUED
    worker = workshop.start_worker()
    reaches(workshop, job, JobState.STARTED)
    (alive,) = live_workers(workshop.connection)
    assert (alive.pid, alive.queue, alive.busy, alive.job) == (worker.pid, "learn", True, job)
    (workshop.folder / "go").touch()
    reaches(workshop, job, JobState.FINISHED)
    eventually(lambda: not live_workers(workshop.connection)[0].busy)


def test_a_job_that_raises_has_failed_and_says_why(workshop: Workshop) -> None:
    workshop.start_worker()
    reaches(workshop, enqueue(workshop.connection, "fail", 5, 1), JobState.FAILED)
    assert "ArithmeticError: no 5 today" in workshop.log()
    reaches(workshop, enqueue(workshop.connection, "note", 5, 2), JobState.FINISHED)


def test_a_killed_worker_takes_its_job_along_and_the_next_generation_runs(
    workshop: Workshop,
) -> None:
    worker = workshop.start_worker()
    lost = enqueue(workshop.connection, "hang", 5, 1)
    horse = workshop.process_of(lost)
    worker.kill()
    reaches(workshop, lost, JobState.LOST)  # before anybody waited for the process
    worker.wait()
    eventually(lambda: start_time(horse) is None, "the job's process is gone")
    assert live_workers(workshop.connection) == []

    workshop.start_worker()
    reaches(workshop, enqueue(workshop.connection, "note", 5, 2), JobState.FINISHED)
    assert job_state(workshop.connection, lost) is JobState.LOST


def test_a_killed_job_has_failed_and_its_worker_goes_on(workshop: Workshop) -> None:
    worker = workshop.start_worker()
    job = enqueue(workshop.connection, "hang", 5, 1)
    os.kill(workshop.process_of(job), signal.SIGKILL)
    reaches(workshop, job, JobState.FAILED)
    reaches(workshop, enqueue(workshop.connection, "note", 5, 2), JobState.FINISHED)
    assert workshop.pids() == {worker.pid}


def test_a_job_that_was_cancelled_is_no_error_in_the_log(workshop: Workshop) -> None:
    workshop.start_worker()
    job = enqueue(workshop.connection, "cancelled", 5, 1)
    eventually(lambda: "job.cancelled" in workshop.log(), "it was cancelled")
    reaches(workshop, job, JobState.FAILED)
    assert "job.killed" not in workshop.log()
    assert "warning" not in workshop.log()
    killed = enqueue(workshop.connection, "hang", 5, 2)
    os.kill(workshop.process_of(killed), signal.SIGKILL)
    reaches(workshop, killed, JobState.FAILED)
    assert "job.killed" in workshop.log(), "the next one was not"


def test_a_job_that_takes_too_long_has_failed(workshop: Workshop) -> None:
    workshop.start_worker()
    job = enqueue(workshop.connection, "brief", 5, 1)
    reaches(workshop, job, JobState.FAILED)
    assert "JobTimeoutException" in workshop.log()


@pytest.mark.slow
def test_a_job_that_catches_its_timeout_is_ended(workshop: Workshop) -> None:
    workshop.start_worker()
    job = enqueue(workshop.connection, "swallow", 5, 1)
    reaches(workshop, job, JobState.FAILED)
    assert "swallowed" in workshop.notes()
    assert "in swallow" in workshop.log()  # the traceback of where it hung


def claim_for(shop: Workshop, job: str, process: ProcessIdentity) -> None:
    """Leave a job where a worker leaves it between the queue and the start."""
    name = worker_name("learn", process)
    shop.connection.sadd(WORKERS_BY_QUEUE_KEY % "learn", f"rq:worker:{name}")
    shop.connection.sadd(REDIS_WORKER_KEYS, f"rq:worker:{name}")
    claimed = shop.connection.lmove(
        open_queue(shop.connection, "learn").key, claims_key("learn", name)
    )
    assert claimed == job.encode()


def test_a_claim_is_worth_as_much_as_its_worker_lives(workshop: Workshop) -> None:
    living = ProcessIdentity.own()
    job = enqueue(workshop.connection, "note", 5, 1)
    claim_for(workshop, job, living)
    assert job_state(workshop.connection, job) is JobState.QUEUED

    same_pid_long_ago = ProcessIdentity(living.host, living.pid, living.started - 1)
    job = enqueue(workshop.connection, "note", 6, 1)
    claim_for(workshop, job, same_pid_long_ago)
    assert job_state(workshop.connection, job) is JobState.LOST

    unheard_of = ProcessIdentity("elsewhere-00000000", living.pid, living.started)
    job = enqueue(workshop.connection, "note", 7, 1)
    claim_for(workshop, job, unheard_of)
    assert job_state(workshop.connection, job) is JobState.LOST


def test_a_worker_elsewhere_lives_by_its_heartbeat(workshop: Workshop) -> None:
    there = worker_name("learn", ProcessIdentity("else-where-00000000", 17, 4))
    job = enqueue(workshop.connection, "note", 7, 1)
    claim_for(workshop, job, parse_worker_name(there)[1])
    workshop.connection.hset(f"rq:worker:{there}", mapping={"last_heartbeat": "now"})
    assert job_state(workshop.connection, job) is JobState.QUEUED
    (alive,) = live_workers(workshop.connection)
    assert (alive.name, alive.host, alive.pid) == (there, "else-where-00000000", 17)


def test_a_heartbeat_expires_within_half_a_minute(workshop: Workshop) -> None:
    workshop.start_worker()
    (alive,) = live_workers(workshop.connection)
    key = f"rq:worker:{alive.name}"
    eventually(lambda: 0 < workshop.connection.ttl(key) <= 30, "the heartbeat expires soon")


def test_what_dead_workers_left_is_cleared(workshop: Workshop) -> None:
    worker = workshop.start_worker()
    running = enqueue(workshop.connection, "hang", 5, 1)
    workshop.process_of(running)
    worker.kill()
    worker.wait()
    claimed = enqueue(workshop.connection, "note", 5, 1)
    own = ProcessIdentity.own()
    claim_for(workshop, claimed, ProcessIdentity(own.host, own.pid, own.started - 1))
    waiting = enqueue(workshop.connection, "note", 6, 1)

    assert remove_dead_workers(workshop.connection) == 2
    assert job_state(workshop.connection, running) is None
    assert job_state(workshop.connection, claimed) is None
    assert job_state(workshop.connection, waiting) is JobState.QUEUED
    assert list(workshop.connection.scan_iter("*worker*")) == []

    enqueue(workshop.connection, "note", 5, 1)
    workshop.work_off()
    assert job_state(workshop.connection, claimed) is JobState.FINISHED
    assert job_state(workshop.connection, waiting) is JobState.FINISHED


def test_clearing_leaves_the_living_alone(workshop: Workshop) -> None:
    worker = workshop.start_worker()
    job = enqueue(workshop.connection, "wait", 5, 1)
    workshop.process_of(job)
    assert remove_dead_workers(workshop.connection) == 0
    assert workshop.pids() == {worker.pid}
    (workshop.folder / "go").touch()
    reaches(workshop, job, JobState.FINISHED)


def test_a_worker_sits_out_a_restart_of_the_broker(workshop: Workshop, broker: Broker) -> None:
    worker = workshop.start_worker()
    broker.kill()
    eventually(lambda: "broker_away" in workshop.log(), "the worker has noticed")
    broker.start()
    reaches(workshop, enqueue(workshop.connection, "note", 5, 1), JobState.FINISHED)
    assert worker.poll() is None


def test_a_worker_may_be_there_before_the_broker(workshop: Workshop, broker: Broker) -> None:
    broker.kill()
    worker = workshop.start_worker(wait=False)
    eventually(lambda: "broker_away" in workshop.log(), "the worker has noticed")
    broker.start()
    reaches(workshop, enqueue(workshop.connection, "note", 5, 1), JobState.FINISHED)
    assert worker.poll() is None


def test_a_job_outlives_the_broker(workshop: Workshop, broker: Broker) -> None:
    workshop.start_worker()
    job = enqueue(workshop.connection, "wait", 5, 1)
    workshop.process_of(job)
    broker.kill()
    broker.start()
    assert job_state(workshop.connection, job) is JobState.STARTED
    (workshop.folder / "go").touch()
    reaches(workshop, job, JobState.FINISHED)


def test_a_job_that_ended_while_the_broker_was_away_is_not_running_for_ever(
    workshop: Workshop, broker: Broker
) -> None:
    worker = workshop.start_worker()
    job = enqueue(workshop.connection, "hang", 5, 1)
    horse = workshop.process_of(job)
    broker.kill()
    os.kill(horse, signal.SIGKILL)
    eventually(lambda: "broker_away" in workshop.log(), "the worker has noticed")
    broker.start()
    reaches(workshop, job, JobState.FAILED)
    reaches(workshop, enqueue(workshop.connection, "note", 5, 2), JobState.FINISHED)
    assert workshop.pids() == {worker.pid}


def test_an_idle_worker_signs_off(workshop: Workshop) -> None:
    worker = workshop.start_worker()
    worker.terminate()
    assert worker.wait(PATIENCE_SECONDS) == 0
    assert list(workshop.connection.smembers(REDIS_WORKER_KEYS)) == []
    assert live_workers(workshop.connection) == []


def test_a_busy_worker_finishes_its_job_first(workshop: Workshop) -> None:
    worker = workshop.start_worker()
    job = enqueue(workshop.connection, "wait", 5, 1)
    workshop.process_of(job)
    next_job = enqueue(workshop.connection, "note", 5, 1)
    worker.terminate()
    (workshop.folder / "go").touch()
    assert worker.wait(PATIENCE_SECONDS) == 0
    assert job_state(workshop.connection, job) is JobState.FINISHED
    assert job_state(workshop.connection, next_job) is JobState.QUEUED


def test_nothing_is_lost_when_workers_are_killed_again_and_again(workshop: Workshop) -> None:
    """Every job has an end, or is known to be lost and then runs under its next generation."""
    jobs = [enqueue(workshop.connection, "note", project, 1) for project in range(60)]
    for _ in range(4):
        worker = workshop.start_worker()
        done = len(workshop.notes())
        eventually(lambda done=done: len(workshop.notes()) >= done + 5, "some jobs are done")
        worker.kill()
        worker.wait()
    states = {job: job_state(workshop.connection, job) for job in jobs}
    assert set(states.values()) <= {JobState.QUEUED, JobState.FINISHED, JobState.LOST}
    again = [
        enqueue(workshop.connection, "note", project, 2)
        for project, state in enumerate(states.values())
        if state is JobState.LOST
    ]
    assert len(again) <= 4
    workshop.work_off()
    left = [job for job, state in states.items() if state is not JobState.LOST] + again
    assert {job_state(workshop.connection, job) for job in left} == {JobState.FINISHED}


def test_an_unknown_queue_is_refused() -> None:
    with pytest.raises(ValueError, match="sync, embed, learn, publish"):
        run_worker("default", "unix:///nowhere")
