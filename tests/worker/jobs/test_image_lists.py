"""Tasks that show several images: each is labelled for itself, or all of them together."""

import numpy as np
import pytest
from sqlalchemy import Connection

from model.statistics.near_duplicates import near_duplicate_groups
from services.selection.pool import load_images
from services.snapshot import take_snapshot
from services.suggestions.bulk_labelling import apply
from services.training.training_set import training_set
from store.predictions.shortlists import get_shortlist
from store.tasks.tasks import mark_broken, mark_embedded
from store.tasks.units import unit_of
from store.work.pending_work import get_work
from studio.items import ALL_IMAGES
from tests.support.serving import serve_newest
from tests.support.several_images import ALL, EACH, IMAGES, TASKS, Several, right, uri
from tests.support.workbench import SPACE, region


def test_every_image_is_learned_and_suggested_with_its_place(several: Several) -> None:
    several.label(range(1, 21))
    version = several.learn()
    assert version.labels == 20 * IMAGES
    assert version.metrics["controls"]["kind"]["accuracy"]["value"] > 0.8
    items = several.items()
    assert len(items) == 50  # of the shortlist, each task once
    for item in items.values():
        assert [one["item_index"] for one in item.result] == list(range(IMAGES))
        assert {one["from_name"] for one in item.result} == {"kind"}
    assert right(several, items) > 0.8
    with several.store.database.read() as db:
        listed = get_shortlist(db, several.project_id)
    assert len(set(listed)) == len(listed) == 50
    assert {*listed}.isdisjoint(range(1, 21))
    scores = [items[task].score for task in listed]
    assert scores == sorted(scores)
    assert scores[-1] < 0.5


def test_before_the_first_label_tasks_are_chosen_once_each(several: Several) -> None:
    several.run("learn")
    items = several.items()
    assert len(items) == 50
    assert all(item.result == [] for item in items.values())


def test_a_task_is_chosen_by_its_most_doubtful_image(
    several: Several, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPRENTICE_STRATEGY", "margin")
    monkeypatch.setenv("APPRENTICE_AUDIT_SHARE", "0")
    several.label(range(1, 31))
    several.learn()
    clear = np.mean(
        [
            several.store.embeddings.get(SPACE, [f"series{u}"])[f"series{u}"]
            for u, name in several.kinds.items()
            if name == "cat"
        ],
        axis=0,
    )
    doubtful = np.mean(
        list(
            several.store.embeddings.get(
                SPACE, [f"series{unit}" for unit in several.kinds]
            ).values()
        ),
        axis=0,
    )
    vectors = {"clear": clear.astype(np.float16), "doubtful": doubtful.astype(np.float16)}
    several.store.embeddings.put(SPACE, vectors)
    several.show(500, "/c0", "/c1", "/d")
    several.show(501, "/c2", "/c3", "/c4")

    def write(db: Connection) -> None:
        keys = {unit_of(500, 0): "clear", unit_of(500, 1): "clear", unit_of(500, 2): "doubtful"}
        keys |= {unit_of(501, item): "clear" for item in range(3)}
        mark_embedded(db, several.project_id, SPACE, keys)

    several.store.database.write(write)
    several.label(range(31, 41))
    several.learn()
    with several.store.database.read() as db:
        listed = get_shortlist(db, several.project_id)
    assert 500 in listed[:5]
    assert 501 not in listed[:20]


def test_a_part_of_the_pool_is_whole_tasks_of_even_chance(
    several: Several, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.selection.pool.POOL", 60)
    now = take_snapshot(several.store, several.project_id)
    tasks, x, share = load_images(several.store, SPACE, now.open, seed=3)
    assert len(tasks) == len(x) == 60
    assert len(set(tasks)) == 20
    assert share == 20 / TASKS


def test_images_of_one_task_are_never_on_both_sides_of_an_evaluation(several: Several) -> None:
    several.label(range(1, 31))
    data = training_set(several.store, take_snapshot(several.store, several.project_id))
    groups = data.groups()
    assert len(data.tasks) == 90
    assert len(set(groups.tolist())) == 30
    assert all(len(set(groups[row : row + IMAGES].tolist())) == 1 for row in range(0, 90, IMAGES))


def test_an_image_that_all_tasks_share_does_not_tie_them_together(several: Several) -> None:
    def write(db: Connection) -> None:
        charts = {unit_of(task, 0): "series1" for task in range(1, 31)}
        mark_embedded(db, several.project_id, SPACE, charts)

    several.store.database.write(write)
    several.label(range(1, 31))
    data = training_set(several.store, take_snapshot(several.store, several.project_id))
    assert len(set(data.groups().tolist())) == 30


def test_owners_are_tied_by_near_duplicates_that_few_of_them_have() -> None:
    x = np.eye(8)
    keys = ["a", "b", "c", "a", "d", "e", "f", "g"]
    owners = [1, 1, 2, 2, 3, 3, 4, 5]
    groups = near_duplicate_groups(x, keys, owners).tolist()
    assert groups[0] == groups[1] == groups[2] == groups[3]
    assert groups[4] == groups[5]
    assert len(set(groups)) == 4
    assert (
        near_duplicate_groups(x, keys).tolist()
        == near_duplicate_groups(x, keys, list(range(8))).tolist()
    )


def test_what_is_asked_of_all_images_is_learned_on_their_mean(several: Several) -> None:
    several.configure(ALL)
    store = several.store
    keys = {unit_of(t, i): f"series{t}" for t in range(1, 81) for i in range(IMAGES)}
    store.database.write(lambda db: mark_embedded(db, several.project_id, SPACE, keys))
    labels = {t: [region("most", "choices", [several.kinds[t]])] for t in range(1, 31)}
    several.submit(labels)
    version = several.learn()
    assert version.labels == 30
    items = several.items()
    assert len(items) == 50
    said = {task: item.result for task, item in items.items()}
    assert all(len(result) == 1 and "item_index" not in result[0] for result in said.values())
    alike = [result[0]["value"]["choices"][0] == several.kinds[t] for t, result in said.items()]
    assert np.mean(alike) > 0.8


@pytest.mark.parametrize("tags", [EACH, ALL])
def test_where_only_all_images_together_are_labelled_no_fine_tuning_is_tried(
    several: Several, monkeypatch: pytest.MonkeyPatch, tags: str
) -> None:
    monkeypatch.setattr("services.finetuning.policy.LEAST_LABELS", 20)
    monkeypatch.setattr("services.finetuning.policy.GOOD_ENOUGH", 1.1)
    several.configure(tags)
    several.submit(
        {
            t: [*several.regions(t), region("most", "choices", [several.kinds[t]])]
            for t in range(1, 31)
        }
    )
    several.learn()
    with several.store.database.read() as db:
        wish = get_work(db, several.project_id, "finetune")
    assert (wish is not None) == (tags == EACH)


def test_the_mean_is_of_the_images_that_can_be_used(several: Several) -> None:
    several.configure(ALL)
    several.submit({1: [region("most", "choices", ["cat"])]})
    broken = {unit_of(1, 1): "not an image"}
    several.store.database.write(lambda db: mark_broken(db, several.project_id, broken))
    data = training_set(several.store, take_snapshot(several.store, several.project_id))
    known = several.store.embeddings.get(SPACE, ["series1", f"series{unit_of(1, 2)}"])
    assert data.tasks.tolist() == [unit_of(1, ALL_IMAGES)]
    mean = np.mean(list(known.values()), axis=0)
    assert np.allclose(data.x[0].astype(np.float32), mean, atol=0.01)


def test_each_image_and_all_together_are_asked_about_at_once(
    several: Several, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPRENTICE_MIN_CONFIDENCE", "0")
    several.configure(EACH + ALL)
    several.submit(
        {
            t: [*several.regions(t), region("most", "choices", [several.kinds[t]])]
            for t in range(1, 31)
        }
    )
    version = several.learn()
    assert set(version.metrics["controls"]) == {"kind", "most"}
    assert version.labels == 30 * IMAGES + 30
    items = several.items()
    assert len(items) == 50
    for item in items.values():
        places = [(one["from_name"], one.get("item_index")) for one in item.result]
        assert places == [("most", None), ("kind", 0), ("kind", 1), ("kind", 2)]


def test_one_control_that_is_not_learned_yet_makes_the_other_no_less_sure(
    several: Several,
) -> None:
    several.configure(EACH + ALL)
    several.label(range(1, 31))
    several.learn()
    serve_newest(several)
    rows = apply(several.store, several.project).rows
    sure = [row.confidence for row in rows if row.confidence is not None]
    assert sure
    assert min(sure) > 0


def test_a_broken_image_leaves_the_others_their_suggestions(several: Several) -> None:
    several.label(range(1, 31))
    broken = {unit_of(task, 1): "not an image" for task in range(31, TASKS + 1)}
    several.store.database.write(lambda db: mark_broken(db, several.project_id, broken))
    several.learn()
    for item in several.items().values():
        assert {one["item_index"] for one in item.result} <= {0, 2}
    assert sum(len(item.result) for item in several.items().values()) > 50


def test_a_task_waits_until_all_of_its_images_are_embedded(several: Several) -> None:
    several.show(80, uri(80, 0), uri(80, 1), "/new")
    several.label(range(1, 31))
    several.learn()
    with several.store.database.read() as db:
        assert 80 not in get_shortlist(db, several.project_id)
    assert 80 not in several.items()
    serve_newest(several)
    rows = [row for row in apply(several.store, several.project).rows if row.task == 80]
    assert {row.source for row in rows} == {"missing"}


def test_labels_of_images_that_are_not_there_harm_nothing_and_are_told(several: Several) -> None:
    several.label(range(1, 30))
    strange = [
        region("kind", "choices", ["dog"]) | {"item_index": place} for place in (7, -1, "1", None)
    ]
    several.submit({30: [*strange[:3], region("kind", "choices", ["cat"])]})
    version = several.learn()
    assert version.labels == 29 * IMAGES + 1  # what names no image is of the first
    (note,) = version.metrics["notes"]
    assert note.startswith("1 label is of images that their tasks don't show (any more)")
    assert "image 8 of task 30" in note


def test_labels_come_back_with_their_images(several: Several) -> None:
    several.label(range(1, 21))
    assert several.learn().labels == 60
    several.show(1, uri(1, 0))
    assert several.learn().labels == 58
    several.show(1, *(uri(1, item) for item in range(IMAGES)))
    assert several.learn().labels == 58  # they are to be embedded again
    keys = {unit_of(1, item): f"series{unit_of(1, item)}" for item in range(IMAGES)}
    several.store.database.write(lambda db: mark_embedded(db, several.project_id, SPACE, keys))
    data = training_set(several.store, take_snapshot(several.store, several.project_id))
    assert len(data.tasks) == 60


def test_tasks_without_a_list_are_left_out(several: Several) -> None:
    several.show(79, None)
    several.show(80, "/single", None)
    several.label(range(1, 31))
    several.learn()
    assert {79, 80}.isdisjoint(several.items())
    serve_newest(several)
    rows = {(row.task, row.image): row for row in apply(several.store, several.project).rows}
    assert {rows[79, 0].source, rows[80, 0].source, rows[80, 1].source} == {"missing"}
    assert rows[79, 0].reason == rows[80, 1].reason == "the task has no such image"


def test_of_several_classes_an_image_that_nobody_marked_has_none(several: Several) -> None:
    several.configure(EACH.replace("perItem", 'choice="multiple" perItem'))
    several.submit({1: [region("kind", "choices", ["cat", "dog"]) | {"item_index": 1}]})
    now = take_snapshot(several.store, several.project_id)
    nothing = {"kind": frozenset()}
    assert now.labels == {
        unit_of(1, 0): nothing,
        unit_of(1, 1): {"kind": frozenset({"cat", "dog"})},
        unit_of(1, 2): nothing,
    }
