"""What is accepted unseen: only what the audit shows to be right, and taken back when it isn't."""

from dataclasses import replace

import numpy as np
from sqlalchemy import Connection

from backend.views.advice import advice_status
from model.active_learning.advice import Agreement, AuditedPick
from model.statistics.intervals import Estimate
from services.advice import save_advice
from services.snapshot import take_snapshot
from services.suggestions.auto_accept import reserved
from store.predictions.auto_accepts import (
    MARKED,
    WANTED,
    WITHDRAWN,
    WRITTEN,
    list_acceptances,
    set_acceptance_state,
)
from store.projects.goals import change_goal
from store.projects.projects import change_project
from store.tasks.accept_marks import is_accepted
from store.tasks.annotations import AnnotationRecord, save_annotations
from store.tasks.tasks import TaskRecord, mark_embedded, save_tasks
from tests.support.learned_lists import (
    advice_of,
    label_lists,
    learn,
    newest_id,
    refused_version,
    shortlist_of,
)
from tests.support.workbench import SPACE, Workbench


def sure_picks(bench: Workbench, count: int, wrong: int) -> None:
    """Random picks as a long project has them, in place of the few that a test can make."""
    found = advice_of(bench)
    names = np.array(["cat", "dog", "fox"])
    picks = [AuditedPick(10_000 + i, 0.995, i < wrong, str(names[i % 3])) for i in range(count)]
    more = replace(found, picks=picks)
    bench.store.database.write(lambda db: save_advice(db, bench.project_id, newest_id(bench), more))


def accepted(bench: Workbench) -> dict[int, str]:
    with bench.store.database.read() as db:
        return {item.task: item.state for item in list_acceptances(db, bench.project_id)}


def goal(bench: Workbench, **values: object) -> None:
    bench.store.database.write(lambda db: change_goal(db, bench.project_id, **values))


def test_nothing_is_accepted_unless_asked_for_and_shown_to_be_right(begun: Workbench) -> None:
    label_lists(begun, 1, 12)
    sure_picks(begun, 300, 0)
    learn(begun)
    assert accepted(begun) == {}
    sure_picks(begun, 40, 0)
    goal(begun, accept_error=0.05)
    learn(begun)
    assert accepted(begun) == {}


def test_what_is_sure_is_marked_and_a_part_stays_with_people(begun: Workbench) -> None:
    label_lists(begun, 2, 12)
    sure_picks(begun, 300, 0)
    goal(begun, accept_error=0.05)
    learn(begun)
    taken = accepted(begun)
    assert len(taken) > 20
    assert set(taken.values()) == {MARKED}
    now = take_snapshot(begun.store, begun.project_id)
    assert not set(taken) & (set(now.labels) | set(shortlist_of(begun)) | set(now.drawn))
    assert not any(reserved(begun.project_id, task) for task in taken)
    goal(begun, accept_writes=True)
    learn(begun)
    assert set(accepted(begun).values()) == {WANTED}
    goal(begun, accept_error=None)
    learn(begun)
    assert accepted(begun) == {}


def test_a_broken_bound_takes_everything_back(begun: Workbench) -> None:
    label_lists(begun, 2, 12)
    sure_picks(begun, 300, 0)
    goal(begun, accept_error=0.05, accept_writes=True)
    learn(begun)
    written = next(iter(accepted(begun)))
    begun.store.database.write(
        lambda db: set_acceptance_state(db, begun.project_id, written, "written", 5)
    )
    sure_picks(begun, 300, 12)  # one in 25: the bound is broken, the target may yet be kept
    learn(begun)
    assert accepted(begun) == {written: "written"}
    sure_picks(begun, 300, 30)
    learn(begun)
    assert accepted(begun) == {written: WITHDRAWN}


def test_a_class_that_breaks_the_target_is_taken_back_alone(begun: Workbench) -> None:
    label_lists(begun, 2, 12)
    sure_picks(begun, 300, 0)
    goal(begun, accept_error=0.05, accept_writes=True)
    learn(begun)
    cats = [task for task in accepted(begun) if begun.truth[task] == "cat"]
    others = [task for task in accepted(begun) if begun.truth[task] != "cat"]
    assert len(cats) > 5
    assert len(others) > 5

    def write(db: Connection) -> None:
        for task in (*cats, *others):
            set_acceptance_state(db, begun.project_id, task, WRITTEN, task)
        names = np.array(["cat", "dog", "fox"])
        picks = [
            AuditedPick(10_000 + i, 0.995, i % 3 == 0 and i < 60, str(names[i % 3]))
            for i in range(900)
        ]
        save_advice(db, begun.project_id, newest_id(begun), replace(advice_of(begun), picks=picks))

    begun.store.database.write(write)
    learn(begun)
    states = accepted(begun)
    withdrawn = {task for task, state in states.items() if state == WITHDRAWN}
    assert withdrawn == {*cats}
    assert all(states[task] == WRITTEN for task in others)


def test_a_stricter_rule_takes_back_what_it_does_not_take_any_more(begun: Workbench) -> None:
    label_lists(begun, 2, 12)
    sure_picks(begun, 300, 0)
    goal(begun, accept_error=0.05, accept_writes=True)
    learn(begun)
    with begun.store.database.read() as db:
        taken = {item.task: item.confidence for item in list_acceptances(db, begun.project_id)}
    least, most = min(taken, key=taken.__getitem__), max(taken, key=taken.__getitem__)
    assert taken[least] < 0.95 < taken[most]

    def write(db: Connection) -> None:
        set_acceptance_state(db, begun.project_id, least, WRITTEN, 5)
        set_acceptance_state(db, begun.project_id, most, WRITTEN, 6)
        picks = [AuditedPick(10_000 + i, 0.96 - i % 2 / 50, i % 2 == 1, "cat") for i in range(300)]
        save_advice(db, begun.project_id, newest_id(begun), replace(advice_of(begun), picks=picks))

    begun.store.database.write(write)
    learn(begun)  # of the same labels: under the same version
    now = accepted(begun)
    assert (now.pop(least), now.pop(most)) == (WITHDRAWN, WRITTEN)
    assert set(now) == {t for t in taken if taken[t] >= 0.95} - {most}


def test_images_that_come_later_are_looked_at_as_well(begun: Workbench) -> None:
    label_lists(begun, 2, 12)
    sure_picks(begun, 300, 0)
    goal(begun, accept_error=0.05)
    learn(begun)
    before = set(accepted(begun))
    more = {task: f"image{task - 300}" for task in range(301, 341)}
    records = [TaskRecord(task, {"image": f"/{task}"}, f"/{task}", 1.0) for task in more]

    def write(db: Connection) -> None:
        save_tasks(db, begun.project_id, records)
        mark_embedded(db, begun.project_id, SPACE, more)

    begun.store.database.write(write)
    learn(begun)
    assert len(set(accepted(begun)) & set(more)) > 20
    assert before <= set(accepted(begun)) | set(shortlist_of(begun))


def test_nothing_is_accepted_while_a_person_has_chosen_what_is_served(begun: Workbench) -> None:
    label_lists(begun, 2, 12)
    sure_picks(begun, 300, 0)
    goal(begun, accept_error=0.05, accept_writes=True)
    learn(begun)
    written = next(iter(accepted(begun)))

    def write(db: Connection) -> None:
        set_acceptance_state(db, begun.project_id, written, WRITTEN, 5)
        change_project(db, begun.project_id, held_at=1.0)

    begun.store.database.write(write)
    learn(begun)
    assert accepted(begun) == {written: WRITTEN}
    with begun.store.database.read() as db:
        told = advice_status(db, begun.project)
    assert told.accepting.reason is not None
    assert "chosen by a person" in told.accepting.reason
    begun.store.database.write(lambda db: change_project(db, begun.project_id, held_at=None))
    learn(begun)
    assert len(accepted(begun)) > 20


def test_accepted_annotations_teach_nothing_until_a_person_touches_them(begun: Workbench) -> None:
    label_lists(begun, 2, 12)
    sure_picks(begun, 300, 0)
    goal(begun, accept_error=0.05, accept_writes=True)
    learn(begun)
    with begun.store.database.read() as db:
        item = list_acceptances(db, begun.project_id)[0]
    before = take_snapshot(begun.store, begun.project_id)
    record = AnnotationRecord(5000, item.task, 100.0, 100.1, item.result)
    begun.store.database.write(lambda db: save_annotations(db, begun.project_id, [record]))
    now = take_snapshot(begun.store, begun.project_id)
    assert now.labels == before.labels
    assert item.task in now.annotated
    assert item.task not in now.unbiased
    confirmed = replace(record, updated_at=160.0)
    begun.store.database.write(lambda db: save_annotations(db, begun.project_id, [confirmed]))
    after = take_snapshot(begun.store, begun.project_id)
    assert set(after.labels) - set(before.labels) == {item.task}
    assert not is_accepted([], 1.0, 1.0)


def test_a_refused_version_says_nothing_of_the_served_one(begun: Workbench) -> None:
    label_lists(begun, 2, 12)
    sure_picks(begun, 300, 0)
    goal(begun, accept_error=0.05)
    served = newest_id(begun)
    before = advice_of(begun)
    other = replace(
        before,
        accuracy=Estimate(0.1, 0.05, 0.2, 300),
        picks=[replace(pick, wrong=True) for pick in before.picks],
        agreement=[*before.agreement, Agreement(36, 0.2)],
    )

    def refuse(db: Connection) -> None:
        save_advice(db, begun.project_id, refused_version(db, begun, 36).id, other)

    begun.store.database.write(refuse)
    begun.run("learn")
    with begun.store.database.read() as db:
        told = advice_status(db, begun.project)
        items = list_acceptances(db, begun.project_id)
    assert told.accuracy == before.accuracy
    assert (told.accepting.audited, told.accepting.wrong) == (300, 0)
    assert told.agreement[-1].kappa == 0.2  # of the project's last learning
    assert len(items) > 20
    assert {item.version_id for item in items} == {served}
