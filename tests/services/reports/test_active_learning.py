"""What learning tells about choosing: the audit and the outlook."""

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import Connection

from model.active_learning.advice import Advice
from model.evaluation.paired_tests import Verdict
from services.advice import advice_of_version, save_advice
from services.reports.accuracy_audit import open_confidence
from services.snapshot import take_snapshot
from services.suggestions.predictor import Predictor
from services.suggestions.suggest import suggest_to_all
from store.predictions.auto_accepts import (
    WRITTEN,
    Acceptance,
    add_acceptances,
)
from store.predictions.shortlists import drawn_tasks
from store.projects.projects import change_project
from store.tasks.accept_marks import marked
from store.tasks.annotations import AnnotationRecord, delete_annotations, save_annotations
from store.tasks.tasks import TaskRecord, mark_embedded, save_tasks
from store.versions.advice import KEPT
from tests.support.learned_lists import (
    advice_of,
    label_lists,
    learn,
    newest_id,
    refused_version,
    shortlist_of,
)
from tests.support.workbench import SPACE, Workbench, region


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


def test_the_confidence_on_open_tasks_is_that_of_the_least_sure_control(
    begun: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = take_snapshot(begun.store, begun.project_id)
    assert now.served is not None
    predictor = Predictor.load(begun.store, now.served)
    found = open_confidence(begun.store, now, predictor)
    suggested = suggest_to_all(
        begun.store, begun.project, now.open, predictor, now.config, least=0.0
    )
    assert sorted(found) == pytest.approx(sorted(one.confidence for one in suggested.values()))
    monkeypatch.setattr("services.reports.accuracy_audit.MOST_OPEN", 7)
    assert len(open_confidence(begun.store, now, predictor)) == 7
    everything = replace(now, annotated=set(begun.truth))
    assert len(open_confidence(begun.store, everything, predictor)) == 0


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
