"""learn: what is decided for which labels, and that it is written as one."""

import time

import numpy as np
import pytest

from services.snapshot import take_snapshot
from services.suggestions.predictor import Predictor
from store.predictions.deletions import delete_tasks
from store.predictions.publications import (
    PredictionItem,
    end_publication,
    next_chunk,
    pending_publications,
    save_predictions,
    scores_of,
)
from store.predictions.shortlists import get_shortlist
from store.projects.projects import change_project, serve
from store.tasks.tasks import list_tasks, mark_embedded
from store.versions.versions import REFUSED, Version, get_version, list_versions, mark_served
from store.work.pending_work import get_work
from studio.config import parse_label_config
from tests.support.workbench import CLASSES, SPACE, Workbench, label_config


def versions(bench: Workbench) -> list[Version]:
    with bench.store.database.read() as db:
        return list_versions(db, bench.project_id)


def pushed(bench: Workbench, reason: str = "version") -> list[PredictionItem]:
    """What is to be pushed for that reason; of a new version, with the rest that follows it."""
    items: list[PredictionItem] = []
    with bench.store.database.read() as db:
        for publication in pending_publications(db, bench.project_id):
            if publication.reason == reason or (items and publication.reason in ("rest", "refill")):
                chunk = next_chunk(db, publication.id)
                items += chunk.items if chunk else ()
    return items


def pretend_published(bench: Workbench) -> None:
    """What the publish job does when Label Studio has taken everything."""

    def write(db):
        for publication in pending_publications(db, bench.project_id):
            version = get_version(db, publication.version_id)
            chunk = next_chunk(db, publication.id)
            save_predictions(
                db, bench.project_id, version.id, chunk.items if chunk else (), "pushed"
            )
            end_publication(db, publication.id)
            if publication.reason == "version":
                serve(db, bench.project_id, version.id, publication.id)
                mark_served(db, version)

    bench.store.database.write(write)


def label(bench: Workbench, each: int) -> None:
    for name in CLASSES:
        bench.annotate(bench.tasks_of(name, each))


def test_before_the_first_label_an_order_is_published(workbench: Workbench) -> None:
    workbench.run("learn")
    (version,) = versions(workbench)
    assert (version.name, version.kind) == ("apprentice v0", "start")
    items = pushed(workbench)
    assert len(items) == 50
    assert all(item.result == [] for item in items)
    assert [item.score for item in items] == sorted(item.score for item in items)
    assert all(0 <= item.score < 0.5 for item in items)
    assert "no label" in str(workbench.project.reason)


def test_the_first_images_are_of_all_kinds(workbench: Workbench) -> None:
    workbench.run("learn")
    kinds = [workbench.truth[item.task] for item in pushed(workbench)[:12]]
    assert set(kinds) == set(CLASSES)


def test_one_class_alone_is_not_learned_and_says_so(workbench: Workbench) -> None:
    workbench.annotate(workbench.tasks_of("cat", 5))
    workbench.run("learn")
    assert "only 'cat'" in str(workbench.project.reason)
    assert [version.kind for version in versions(workbench)] == ["start"]


def test_two_labels_give_the_first_suggestions(workbench: Workbench) -> None:
    workbench.annotate(workbench.tasks_of("cat", 1) | workbench.tasks_of("dog", 1))
    workbench.run("learn")
    newest = versions(workbench)[0]
    assert (newest.name, newest.labels) == ("apprentice v1", 2)
    assert workbench.project.reason is None
    assert pushed(workbench)


def test_suggestions_are_right_and_the_shortlist_is_pushed_in_order(workbench: Workbench) -> None:
    label(workbench, 12)
    workbench.run("learn")
    items = pushed(workbench)
    with workbench.store.database.read() as db:
        chosen = get_shortlist(db, workbench.project_id)
    assert [item.task for item in items] == chosen
    suggested = [item for item in items if item.result]
    right = [
        item.result[0]["value"]["choices"] == [workbench.truth[item.task]] for item in suggested
    ]
    assert len(suggested) > 25
    assert np.mean(right) > 0.9
    labelled = {task for name in CLASSES for task in workbench.tasks_of(name, 12)}
    assert labelled.isdisjoint(chosen)


def test_a_version_is_served_by_numpy_from_its_artifact(workbench: Workbench) -> None:
    label(workbench, 12)
    workbench.run("learn")
    predictor = Predictor.load(workbench.store, versions(workbench)[0])
    tasks = list(workbench.truth)
    vectors = workbench.store.embeddings.get(SPACE, [f"image{task}" for task in tasks])
    x = np.stack([vectors[f"image{task}"] for task in tasks])
    config = parse_label_config(label_config())
    answers = predictor.suggest(config, x, 0.0)
    guessed = [answer.result[0].value["choices"][0] for answer in answers]
    assert np.mean([g == workbench.truth[t] for g, t in zip(guessed, tasks, strict=True)]) > 0.95
    unsure = predictor.suggest(config, x, 1.0)
    assert all(answer.result == [] or answer.confidence == 1.0 for answer in unsure)


def test_the_same_labels_give_no_second_version(workbench: Workbench) -> None:
    label(workbench, 6)
    workbench.run("learn")
    pretend_published(workbench)
    workbench.run("learn")
    assert len(versions(workbench)) == 1
    assert pushed(workbench, "refill") == []


def test_a_worse_version_is_refused_and_says_why(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.training.holdout.HOLDOUT_FROM", 140)
    monkeypatch.setattr("services.training.holdout.HOLDOUT_LEAST", 30)
    workbench.run("learn")
    pretend_published(workbench)
    label(workbench, 50)
    truths = {task: name for name in CLASSES for task in list(workbench.tasks_of(name, 50))[:15]}
    workbench.annotate(truths, at=2.0, ground_truth=True)  # which are held out
    workbench.run("learn")
    pretend_published(workbench)
    served = workbench.project.served_version_id
    other = dict(zip(CLASSES, ("dog", "fox", "cat"), strict=True))
    rest = {task for name in CLASSES for task in workbench.tasks_of(name, 50)} - truths.keys()
    workbench.annotate({task: other[workbench.truth[task]] for task in rest}, at=3.0)
    skip(workbench, shortlist_of(workbench)[:10])
    newest = versions(workbench)[0]
    assert newest.status == REFUSED
    assert newest.verdict
    assert workbench.project.served_version_id == served
    refill = pushed(workbench, "refill")
    assert len(refill) == 10, "a refused version tops up the shortlist of the served one"


def test_versions_that_wait_while_another_is_held_only_top_the_list_up(
    workbench: Workbench,
) -> None:
    label(workbench, 6)
    workbench.run("learn")
    pretend_published(workbench)
    workbench.store.database.write(
        lambda db: change_project(db, workbench.project_id, held_at=time.time())
    )
    for _ in range(4):
        tasks = shortlist_of(workbench)[:5]
        workbench.annotate({task: workbench.truth[task] for task in tasks})
        workbench.run("learn")
        assert len(pushed(workbench, "refill")) == 5
        pretend_published(workbench)
        assert len(shortlist_of(workbench)) == 50


def test_what_is_left_of_the_shortlist_goes_on_under_the_new_version(
    workbench: Workbench,
) -> None:
    workbench.run("learn")
    pretend_published(workbench)
    with workbench.store.database.read() as db:
        first = get_shortlist(db, workbench.project_id)
    done = first[:10]
    workbench.annotate({task: workbench.truth[task] for task in done})
    workbench.run("learn")
    assert set(first[10:]) <= {item.task for item in pushed(workbench)}
    assert set(done).isdisjoint({item.task for item in pushed(workbench)})


def test_below_half_the_shortlist_is_filled_up_under_the_same_version(
    workbench: Workbench,
) -> None:
    label(workbench, 6)
    workbench.run("learn")
    pretend_published(workbench)
    with workbench.store.database.read() as db:
        chosen = get_shortlist(db, workbench.project_id)
    skipped = {task: workbench.truth[task] for task in chosen[:30]}
    workbench.annotate(skipped, was_cancelled=True)
    workbench.run("learn")
    items = pushed(workbench, "refill")
    assert len(versions(workbench)) == 1
    assert len(items) == 50
    assert {item.task for item in items}.isdisjoint(chosen)
    assert all(item.score < 0.5 for item in items)
    with workbench.store.database.read() as db:
        assert get_shortlist(db, workbench.project_id)[:20] == chosen[30:]


def shortlist_of(bench: Workbench) -> list[int]:
    with bench.store.database.read() as db:
        return get_shortlist(db, bench.project_id)


def skip(bench: Workbench, tasks: list[int]) -> None:
    bench.annotate({task: bench.truth[task] for task in tasks}, was_cancelled=True)
    bench.run("learn")


def test_a_list_that_is_filled_up_again_and_again_is_handed_out_in_its_order(
    workbench: Workbench,
) -> None:
    label(workbench, 6)
    workbench.run("learn")
    pretend_published(workbench)
    gone = shortlist_of(workbench)[1:20]
    workbench.store.database.write(lambda db: delete_tasks(db, workbench.project_id, gone))
    for count in (20, 40):
        skip(workbench, shortlist_of(workbench)[:count])
        assert pushed(workbench, "refill")
        pretend_published(workbench)
    listed = shortlist_of(workbench)
    with workbench.store.database.read() as db:
        given = scores_of(db, workbench.project_id, versions(workbench)[0].id)
    assert len(listed) > 60
    assert sorted(listed, key=given.__getitem__) == listed
    assert len({given[task] for task in listed}) == len(listed)
    assert all(0 <= given[task] < 0.5 for task in listed)


def test_filling_up_offers_no_near_duplicate_of_what_is_left(workbench: Workbench) -> None:
    label(workbench, 6)
    workbench.run("learn")
    pretend_published(workbench)
    listed = shortlist_of(workbench)
    left = listed[26:]
    others = [task for task in list(workbench.truth)[18:] if task not in listed]
    copies = dict(zip(others, left, strict=False))
    keys = {copy: f"image{task}" for copy, task in copies.items()}
    workbench.store.database.write(lambda db: mark_embedded(db, workbench.project_id, SPACE, keys))
    skip(workbench, listed[:26])
    new = [item.task for item in pushed(workbench, "refill")]
    assert len(others) > len(copies) + len(new)
    assert len(copies.keys() & {*new}) <= 5, "only random draws may be"


def test_what_is_listed_and_not_pushed_yet_is_not_listed_again(workbench: Workbench) -> None:
    label(workbench, 6)
    workbench.run("learn")
    pretend_published(workbench)
    skip(workbench, shortlist_of(workbench)[:30])
    on_the_way = {item.task for item in pushed(workbench, "refill")}
    skip(workbench, shortlist_of(workbench)[:42])  # while Label Studio takes its time
    listed = shortlist_of(workbench)
    assert on_the_way & {*listed}
    assert len(listed) == len(set(listed))


def test_draws_stay_on_the_list_in_a_pool_of_which_a_part_is_looked_at(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.selection.pool.POOL", 60)
    label(workbench, 6)
    workbench.run("learn")
    pretend_published(workbench)
    drawn = take_snapshot(workbench.store, workbench.project_id).waiting
    assert len(drawn) == 5
    for each in range(7, 11):
        label(workbench, each)
        workbench.run("learn")
        pretend_published(workbench)
    now = take_snapshot(workbench.store, workbench.project_id)
    assert set(drawn) - now.annotated <= set(now.shortlist)


def test_a_class_that_was_removed_is_not_suggested(workbench: Workbench) -> None:
    label(workbench, 10)
    two = label_config(("cat", "dog"))
    workbench.store.database.write(
        lambda db: change_project(db, workbench.project_id, label_config=two)
    )
    workbench.run("learn")
    names = {region["value"]["choices"][0] for item in pushed(workbench) for region in item.result}
    assert names == {"cat", "dog"}


def test_a_config_without_anything_to_learn_gives_a_reason(workbench: Workbench) -> None:
    text = '<View><Text name="t" value="$t"/></View>'
    workbench.store.database.write(
        lambda db: change_project(db, workbench.project_id, label_config=text)
    )
    workbench.run("learn")
    assert versions(workbench) == []
    assert workbench.project.reason


def test_deleted_tasks_are_neither_learned_nor_chosen(workbench: Workbench) -> None:
    label(workbench, 6)
    gone = [task for task in workbench.truth if task > 200]
    workbench.store.database.write(lambda db: delete_tasks(db, workbench.project_id, gone))
    workbench.run("learn")
    assert {item.task for item in pushed(workbench)}.isdisjoint(gone)


def test_from_300_labels_on_some_are_held_out_for_good(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.training.holdout.HOLDOUT_FROM", 200)
    monkeypatch.setattr("services.training.holdout.HOLDOUT_LEAST", 30)
    label(workbench, 70)
    workbench.run("learn")  # nothing was chosen before: these labels are not biased
    assert versions(workbench)[0].metrics["evaluation"] == "out of fold"
    pretend_published(workbench)
    workbench.annotate(workbench.tasks_of("cat", 71))
    workbench.run("learn")
    with workbench.store.database.read() as db:
        held = {task.ls_id for task in list_tasks(db, workbench.project_id) if task.split}
    newest = versions(workbench)[0]
    assert newest.metrics["evaluation"] == "hold-out"
    assert newest.metrics["accuracy"]["n"] == len(held)
    assert 30 <= len(held) <= 45


def test_learning_is_done_when_the_job_is(workbench: Workbench) -> None:
    label(workbench, 3)
    workbench.run("learn")
    with workbench.store.database.read() as db:
        item = get_work(db, workbench.project_id, "learn")
        publish = get_work(db, workbench.project_id, "publish")
    assert item is not None
    assert item.wanted == item.done
    assert publish is not None
    assert publish.wanted > publish.done
