"""What follows a learning's commit is never lost, wherever the job's process is killed."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection

from model.active_learning.advice import Advice, AuditedPick
from services.advice import MEASUREMENT_DUE, newest_advice
from services.learning.decide import MOST_ATTEMPTS
from services.reports.active_learning import advise
from store.database.engine import Database
from store.database.schema import metadata
from store.predictions.auto_accepts import list_acceptances
from store.predictions.shortlists import get_shortlist
from store.projects.goals import change_goal
from store.projects.projects import change_project
from store.versions.versions import list_versions, mark_served, newest_version
from store.work import pending_work
from store.work.jobs import list_jobs
from store.work.work_kind import WorkKind
from tests.support.workbench import Workbench


class Killed(BaseException):
    """The end of a process: nothing that the job itself could write is written."""


def learn(bench: Workbench) -> None:
    """Learn, and serve what was learned, as publishing does in the end."""
    bench.run("learn")
    bench.store.database.write(lambda db: serve_newest(db, bench))


def serve_newest(db: Connection, bench: Workbench) -> None:
    version = newest_version(db, bench.project_id)
    if version is not None and version.artifact is not None:
        change_project(db, bench.project_id, served_version_id=version.id)
        mark_served(db, version)


def label_list(bench: Workbench, count: int, at: float) -> None:
    with bench.store.database.read() as db:
        tasks = get_shortlist(db, bench.project_id)[:count]
    bench.annotate({task: bench.truth[task] for task in tasks}, at=at)


def advice_of(bench: Workbench) -> Advice | None:
    with bench.store.database.read() as db:
        return newest_advice(db, bench.project_id)


def accepted(bench: Workbench) -> set[int]:
    with bench.store.database.read() as db:
        return {item.task for item in list_acceptances(db, bench.project_id)}


def versions(bench: Workbench) -> list[int]:
    with bench.store.database.read() as db:
        return [version.number for version in list_versions(db, bench.project_id)]


def is_wanted(bench: Workbench) -> bool:
    with bench.store.database.read() as db:
        work = pending_work.get_work(db, bench.project_id, WorkKind.LEARN)
    assert work is not None
    return work.wanted > work.done


@pytest.fixture
def labelled(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    """A project whose next version is measured anew, and whose suggestions can be accepted."""
    monkeypatch.setenv("APPRENTICE_AUDIT_SHARE", "0.5")
    monkeypatch.setenv("APPRENTICE_HEAD", "ridge")
    bench = workbench
    bench.run("learn")
    for index in range(4):
        label_list(bench, 12, 10.0 + index)
        learn(bench)
    label_list(bench, 12, 20.0)
    bench.store.database.write(lambda db: change_goal(db, bench.project_id, accept_error=0.05))
    return bench


def sure_picks(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the next version audited by random picks as a long project has them."""
    picks = [
        AuditedPick(10_000 + i, 0.995, False, ("cat", "dog", "fox")[i % 3]) for i in range(300)
    ]

    def advise_surely(*arguments: Any) -> Advice:
        return replace(advise(*arguments), picks=picks)

    monkeypatch.setattr("services.learning.decide.advise", advise_surely)


def kill_at(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Have the process end before its write number `count`, from 0."""
    original, writes = Database.write, 0

    def write(self: Database, change: Callable[[Connection], Any]) -> Any:
        nonlocal writes
        if writes == count:
            raise Killed
        writes += 1
        return original(self, change)

    monkeypatch.setattr(Database, "write", write)


def run_until_killed(bench: Workbench, count: int) -> bool:
    """Learn in a process that ends before its write number `count`; whether it was alive then."""
    with pytest.MonkeyPatch.context() as patch:
        generation = bench.prepare("learn")
        kill_at(patch, count)
        try:
            bench.begin("learn", generation)
        except Killed:
            return False
    return True


def test_a_learning_that_is_killed_at_every_write_is_done_in_the_end(
    labelled: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = labelled
    monkeypatch.setattr("services.suggestions.auto_accept.ROWS", 10)
    sure_picks(bench, monkeypatch)
    before = versions(bench)
    count = 0
    while not run_until_killed(bench, count):
        assert is_wanted(bench), f"killed before write {count}, and nobody goes on"
        count += 1
    assert count > 8
    assert not is_wanted(bench)
    assert len(versions(bench)) == len(before) + 1
    with bench.store.database.read() as db:
        assert MEASUREMENT_DUE.of(bench.project_id).get(db) is None
    advice = advice_of(bench)
    assert advice is not None
    assert advice.outlook is not None
    assert advice.outlook.labels == advice.labels
    taken = accepted(bench)
    assert len(taken) > 20
    bench.store.database.write(lambda db: change_goal(db, bench.project_id, accept_error=0.0501))
    bench.run("learn")
    assert accepted(bench) == taken, "as one that was never killed"


def test_a_measurement_that_was_killed_is_made_by_the_next_job(
    labelled: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> Advice:
        raise Killed

    before = advice_of(labelled)
    with monkeypatch.context() as patch:
        patch.setattr("services.learning.follow_up.measure_choosing", killed)
        with pytest.raises(Killed):
            labelled.run("learn")
    new = advice_of(labelled)
    assert before is not None
    assert new is not None
    assert (new.labels, new.outlook) == (before.labels + 12, before.outlook)
    assert is_wanted(labelled)
    made = versions(labelled)
    labelled.run("learn")
    measured = advice_of(labelled)
    assert measured is not None
    assert measured.outlook is not None
    assert measured.outlook.labels == new.labels
    assert versions(labelled) == made
    assert not is_wanted(labelled)


def test_a_measurement_that_always_fails_is_given_up(
    labelled: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the project would never have learned, nothing be accepted, and its heads be fitted anew
    every few minutes."""
    sure_picks(labelled, monkeypatch)
    tries = 0

    def broken(*_: Any) -> Advice:
        nonlocal tries
        tries += 1
        raise ZeroDivisionError

    before = versions(labelled)
    monkeypatch.setattr("services.learning.follow_up.measure_choosing", broken)
    for _ in range(MOST_ATTEMPTS):
        with pytest.raises(ZeroDivisionError):
            labelled.run("learn")
        assert is_wanted(labelled)
    labelled.run("learn")
    assert not is_wanted(labelled)
    assert tries == MOST_ATTEMPTS
    assert len(versions(labelled)) == len(before) + 1
    assert accepted(labelled)


def test_a_job_whose_lease_is_lost_writes_no_more(
    labelled: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def superseded(_: Any, __: Any, advice: Advice) -> Advice:
        project_id = labelled.project_id
        labelled.store.database.write(
            lambda db: pending_work.revoke(db, project_id, WorkKind.LEARN)
        )
        return replace(advice, labels=1)

    sure_picks(labelled, monkeypatch)
    monkeypatch.setattr("services.learning.follow_up.measure_choosing", superseded)
    labelled.run("learn")
    advice = advice_of(labelled)
    assert advice is not None
    assert advice.labels != 1
    assert accepted(labelled) == set()
    assert is_wanted(labelled)
    with labelled.store.database.read() as db:
        assert list_jobs(db, labelled.project_id)[0].state == "lost"


def test_a_wait_that_pushing_sets_meanwhile_holds_for_the_next_learning(
    labelled: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The publish job begins at the commit, and may be done before the follow-ups are."""
    until = time.time() + 1000

    def pushed(*_: Any) -> None:
        labelled.store.database.write(
            lambda db: pending_work.postpone(db, labelled.project_id, WorkKind.LEARN, until)
        )

    monkeypatch.setattr("services.learning.follow_up.accept", pushed)
    labelled.run("learn")
    with labelled.store.database.read() as db:
        work = pending_work.get_work(db, labelled.project_id, WorkKind.LEARN)
    assert work is not None
    assert work.not_before == until


def test_a_decision_that_is_never_committed_leaves_no_trace(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise Killed

    monkeypatch.setattr("services.training.holdout.HOLDOUT_FROM", 20)
    for name in ("cat", "dog", "fox"):
        workbench.annotate(workbench.tasks_of(name, 30))

    def rows() -> dict[str, list[Any]]:
        skipped = ("job", "work", "task")
        with workbench.store.database.read() as db:
            return {
                table.name: db.execute(table.select()).all()
                for table in metadata.sorted_tables
                if table.name not in skipped
            }

    before = rows()
    monkeypatch.setattr("worker.jobs.learn.commit", killed)
    with pytest.raises(Killed):
        workbench.run("learn")
    assert rows() == before
