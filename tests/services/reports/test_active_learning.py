"""What learning tells about choosing: the audit, the outlook, and what is accepted unseen."""

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import Connection

from backend.views.advice import advice_status
from model.active_learning.advice import Advice, Agreement, AuditedPick
from model.evaluation.paired_tests import Verdict
from model.statistics.intervals import Estimate
from services.advice import advice_of_version, newest_advice, save_advice
from services.snapshot import take_snapshot
from services.suggestions.auto_accept import reserved
from store.predictions.auto_accepts import (
    MARKED,
    WANTED,
    WITHDRAWN,
    WRITTEN,
    Acceptance,
    add_acceptances,
    list_acceptances,
    set_acceptance_state,
)
from store.predictions.shortlists import drawn_tasks, get_shortlist
from store.projects.goals import change_goal
from store.projects.projects import change_project
from store.tasks.accept_marks import is_accepted, marked
from store.tasks.annotations import AnnotationRecord, delete_annotations, save_annotations
from store.tasks.tasks import TaskRecord, mark_embedded, save_tasks
from store.versions.advice import KEPT
from store.versions.versions import REFUSED, Version, mark_served, newest_version
from tests.support.versions import plain_version
from tests.support.workbench import SPACE, Workbench, region


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


@pytest.fixture
def begun(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    monkeypatch.setenv("APPRENTICE_AUDIT_SHARE", "0.5")
    monkeypatch.setenv("APPRENTICE_HEAD", "ridge")
    bench = workbench
    bench.run("learn")
    label_lists(bench, 1, 12)
    return bench


def test_draws_wait_on_every_list_until_they_are_labelled(begun: Workbench) -> None:
    with begun.store.database.read() as db:
        first = set(drawn_tasks(db, begun.project_id))
    label_lists(begun, 1, 4)
    waiting = first & set(shortlist_of(begun))
    with begun.store.database.read() as db:
        drawn = drawn_tasks(db, begun.project_id)
    labelled = {task for task in first if task not in waiting}
    assert waiting
    assert first == waiting | labelled
    assert first <= set(drawn)
    assert all(draw.probability for draw in drawn.values())
    labels = take_snapshot(begun.store, begun.project_id).labels
    assert labelled <= set(labels)


def test_random_picks_alone_make_the_audit(begun: Workbench) -> None:
    label_lists(begun, 3, 12)
    found = advice_of(begun)
    now = take_snapshot(begun.store, begun.project_id)
    picks = {task for task in now.drawn if task in now.labels}
    assert {pick.task for pick in found.picks} == picks
    assert found.accuracy is not None
    assert found.open_accuracy is not None
    assert found.accuracy.n == len(picks)
    assert found.accuracy.low < found.accuracy.value <= found.accuracy.high
    assert found.labels == len(now.labels) == 48


def test_what_is_accepted_unseen_leaves_the_audit_as_it_was(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPRENTICE_AUDIT_SHARE", "1")
    monkeypatch.setenv("APPRENTICE_HEAD", "ridge")
    bench, rng = workbench, np.random.default_rng(1)
    add_tasks(bench, {task: str(rng.choice(["cat", "dog"])) for task in range(301, 421)})
    learn(bench)
    label_lists(bench, 4, 40)
    before, now = advice_of(bench), take_snapshot(bench.store, bench.project_id)
    assert before.accuracy is not None
    assert before.open_accuracy is not None
    easy = [task for task in bench.truth if task < 300 and task not in now.annotated]
    draws = [task for task in easy if task in now.drawn]
    results = {task: marked([region("kind", "choices", [bench.truth[task]])]) for task in easy}
    items = [Acceptance(t, 1, 0.9, results[t], WRITTEN, t, 50.0) for t in easy if t not in draws]
    records = [AnnotationRecord(i.task, i.task, 50.0, 50.0, i.result) for i in items]

    def write(db: Connection) -> None:
        add_acceptances(db, bench.project_id, items)
        save_annotations(db, bench.project_id, records)

    bench.store.database.write(write)
    bench.annotate({task: bench.truth[task] for task in draws}, at=60.0)
    learn(bench)
    after = advice_of(bench)
    assert after.accuracy is not None
    assert after.open_accuracy is not None
    assert after.accuracy.value == pytest.approx(before.accuracy.value, abs=0.06)
    assert 0.8 < after.accuracy.value < 0.95
    assert after.open_accuracy.value < 0.75 < before.open_accuracy.value


def add_tasks(bench: Workbench, truth: dict[int, str]) -> None:
    """Images half-way between cats and dogs, of which no head can tell what they are."""
    rng = np.random.default_rng(2)
    found = bench.store.embeddings.get(SPACE, [f"image{task}" for task in bench.truth])
    of = {name: [found[f"image{t}"] for t in bench.tasks_of(name, 240)] for name in ("cat", "dog")}
    middle = (np.mean(of["cat"], axis=0) + np.mean(of["dog"], axis=0)) / 2
    vectors = {
        f"image{task}": (middle + rng.normal(size=len(middle))).astype(np.float16) for task in truth
    }
    bench.store.embeddings.put(SPACE, vectors)
    records = [TaskRecord(task, {"image": f"/{task}"}, f"/{task}", 1.0) for task in truth]

    def write(db: Connection) -> None:
        save_tasks(db, bench.project_id, records)
        mark_embedded(db, bench.project_id, SPACE, {task: f"image{task}" for task in truth})

    bench.store.database.write(write)
    bench.truth.update(truth)


def test_the_outlook_is_measured_once_there_are_labels_for_it(begun: Workbench) -> None:
    assert advice_of(begun).outlook is None
    label_lists(begun, 4, 12)
    outlook = advice_of(begun).outlook
    assert outlook is not None
    assert outlook.gain.low <= outlook.gain.value <= outlook.gain.high
    assert outlook.rise[0] >= 0
    label_lists(begun, 1, 4)
    assert advice_of(begun).outlook == outlook  # too few more labels for another look
    assert [item.labels for item in advice_of(begun).agreement][-2:] == [60, 64]
    assert advice_of(begun).agreement[-1].kappa > 0.8


def test_the_outlook_is_for_all_labels_though_the_newest_alone_are_looked_at(
    begun: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.reports.active_learning.MOST_CURVE", 80)
    for task in shortlist_of(begun)[:24]:  # what is learned at first is wrong
        begun.annotate({task: "fox"}, at=9.0)
    label_lists(begun, 4, 15)
    outlook = advice_of(begun).outlook
    assert outlook is not None
    b, c = outlook.rise
    assert b > 0
    expected = b * (outlook.labels**-c - (outlook.labels + outlook.more) ** -c)
    assert outlook.gain.value == pytest.approx(expected, abs=1e-5)


def test_the_outlook_is_measured_again_when_labels_are_deleted(begun: Workbench) -> None:
    label_lists(begun, 5, 12)
    before = advice_of(begun).outlook
    assert before is not None
    gone = list(take_snapshot(begun.store, begun.project_id).labels)[:24]
    begun.store.database.write(lambda db: delete_annotations(db, begun.project_id, gone))
    learn(begun)
    outlook = advice_of(begun).outlook
    assert outlook is not None
    assert outlook.labels == before.labels - 24 == 48


def test_seconds_come_from_lead_times(begun: Workbench) -> None:
    assert advice_of(begun).seconds_per_label is None
    record = AnnotationRecord(999, 200, 20.0, 20.0, [], completed_by=1, lead_time=7.5)
    task = next(task for task in begun.truth if task not in shortlist_of(begun)[:12])
    region = {"from_name": "kind", "to_name": "image", "type": "choices"}
    result = [region | {"value": {"choices": [begun.truth[task]]}}]
    record = replace(record, task_ls_id=task, result=result)
    begun.store.database.write(lambda db: save_annotations(db, begun.project_id, [record]))
    learn(begun)
    assert advice_of(begun).seconds_per_label == 7.5


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


def test_the_served_version_goes_on_being_audited_while_candidates_are_refused(
    begun: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    label_lists(begun, 2, 12)
    served = newest_id(begun)
    before = {pick.task: pick for pick in advice_of(begun).picks}
    monkeypatch.setattr(
        "services.learning.decide.judge_anywhere", lambda *_: Verdict(False, "worse")
    )
    listed = shortlist_of(begun)[:12]
    drawn = take_snapshot(begun.store, begun.project_id).waiting.keys() & set(listed)
    assert len(drawn) > 2
    first, *others = sorted(drawn)
    other = "cat" if begun.truth[first] == "dog" else "dog"  # as if a suggestion were wrong there
    begun.annotate({task: begun.truth[task] for task in listed} | {first: other}, at=20.0)
    begun.run("learn")
    assert newest_id(begun) != served
    with begun.store.database.read() as db:
        advice = advice_of_version(db, served)
    assert advice is not None
    picks = {pick.task: pick for pick in advice.picks}
    assert picks.keys() == before.keys() | drawn
    assert all(picks[task] == before[task] for task in before)
    assert picks[first].wrong
    assert not all(picks[task].wrong for task in others)
    assert all(picks[task].confidence > 0 for task in drawn)


def test_advice_of_old_versions_is_deleted_but_the_served_ones(workbench: Workbench) -> None:
    def write(db: Connection) -> list[int]:
        made = []
        for number in range(KEPT + 5):
            version = refused_version(db, workbench, number)
            made.append(version.id)
            if number == 2:
                change_project(db, workbench.project_id, served_version_id=version.id)
            save_advice(db, workbench.project_id, version.id, Advice(1.0, number, None, None, None))
        return made

    made = workbench.store.database.write(write)
    with workbench.store.database.read() as db:
        left = [version for version in made if advice_of_version(db, version) is not None]
    assert left == [made[2], *made[5:]]


def refused_version(db: Connection, bench: Workbench, labels: int) -> Version:
    return plain_version(
        db, bench.project_id, status=REFUSED, labels=labels, labels_digest=str(labels)
    )
