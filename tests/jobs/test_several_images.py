"""Tasks that show several images: each is labelled for itself, or all of them together."""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, select

from model.groups import near_duplicate_groups
from store.acceptances import MARKED, list_acceptances
from store.advice import AuditedPick, get_advice, save_advice
from store.annotations import AnnotationRecord, save_annotations
from store.goals import change_goal
from store.projects import change_project, save_project
from store.publications import (
    Item,
    get_shortlist,
    next_chunk,
    owe,
    owed_tasks,
    pending_publications,
)
from store.reviews import get_review
from store.schema import prediction
from store.tasks import TaskRecord, list_tasks, mark_broken, mark_embedded, save_tasks
from store.units import unit_of
from store.versions import Version, newest_version
from store.work import get_work
from studio.errors import StudioUnreachable
from studio.items import WHOLE
from tests.jobs.serving import serve_newest
from tests.jobs.workbench import CLASSES, SPACE, Workbench, region
from worker.applying import apply
from worker.choosing import load_pool
from worker.ledger import read_ledger
from worker.similar import similar
from worker.snapshot import take_snapshot, training_set

IMAGES = 3  # of each task
TASKS = 80
OPTIONS = "".join(f'<Choice value="{name}"/>' for name in CLASSES)
EACH = f'<Choices name="kind" toName="image" perItem="true">{OPTIONS}</Choices>'
ALL = f'<Choices name="most" toName="image">{OPTIONS}</Choices>'


@dataclass
class Several(Workbench):
    """A project of tasks with three images each; `kinds` are {unit: class} of these."""

    kinds: dict[int, str]

    def configure(self, tags: str) -> None:
        xml = f'<View><Image name="image" valueList="$images"/>{tags}</View>'
        self.store.database.write(lambda db: change_project(db, self.project_id, label_config=xml))

    def regions(self, task: int, items: range = range(IMAGES)) -> list[dict[str, Any]]:
        return [
            region("kind", "choices", [self.kinds[unit_of(task, item)]]) | {"item_index": item}
            for item in items
        ]

    def label(self, tasks: range, *, at: float = 1.0) -> None:
        """All images of these tasks."""
        self.submit({task: self.regions(task) for task in tasks}, at=at)

    def learn(self) -> Version:
        self.run("learn")
        with self.store.database.read() as db:
            version = newest_version(db, self.project_id)
        assert version is not None
        return version

    def items(self) -> dict[int, Item]:
        """{task: what is to be pushed for it}."""
        with self.store.database.read() as db:
            pushed = [
                item
                for one in pending_publications(db, self.project_id)
                if (chunk := next_chunk(db, one.id)) is not None
                for item in chunk.items
            ]
        assert len({item.task for item in pushed}) == len(pushed), "once each"
        return {item.task: item for item in pushed}

    def show(self, task: int, *uris: str | None) -> None:
        """Have the task show these images from now on."""
        record = TaskRecord(task, {"images": list(uris)}, uris[0], 1.0, uris[1:])
        self.store.database.write(lambda db: save_tasks(db, self.project_id, [record]))


def uri(task: int, item: int) -> str:
    return f"/{task}/{item}"


@pytest.fixture
def several(workbench: Workbench) -> Several:
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(3, 32)) * 2
    units = [unit_of(task, item) for task in range(1, TASKS + 1) for item in range(IMAGES)]
    kind = {unit: int(rng.integers(3)) for unit in units}
    store = workbench.store
    store.embeddings.put(
        SPACE,
        {
            f"series{unit}": (centres[kind[unit]] + rng.normal(size=32)).astype(np.float16)
            for unit in units
        },
    )

    def write(db: Connection) -> int:
        project = save_project(db, "default", 2, 2000, title="Series", label_config="")
        change_project(db, project.id, embedding_space=SPACE)
        records = []
        for task in range(1, TASKS + 1):
            uris = [uri(task, item) for item in range(IMAGES)]
            records.append(TaskRecord(task, {"images": uris}, uris[0], 1.0, tuple(uris[1:])))
        save_tasks(db, project.id, records)
        mark_embedded(db, project.id, SPACE, {unit: f"series{unit}" for unit in units})
        return project.id

    kinds = {unit: CLASSES[number] for unit, number in kind.items()}
    bench = Several(store, store.database.write(write), {}, kinds)
    bench.configure(EACH)
    return bench


def right(bench: Several, items: dict[int, Item]) -> float:
    """The share of suggested regions that are right."""
    said = [
        one["value"]["choices"][0] == bench.kinds[unit_of(task, one["item_index"])]
        for task, item in items.items()
        for one in item.result
    ]
    return float(np.mean(said))


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
    monkeypatch.setattr("worker.choosing.POOL", 60)
    now = take_snapshot(several.store, several.project_id)
    pool = load_pool(several.store, SPACE, now.open, seed=3)
    assert len(pool.tasks) == 60
    assert len(set(pool.tasks)) == 20
    assert pool.share == 20 / TASKS


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
    monkeypatch.setattr("worker.finetune_policy.LEAST_LABELS", 20)
    monkeypatch.setattr("worker.finetune_policy.GOOD_ENOUGH", 1.1)
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
    assert data.tasks.tolist() == [unit_of(1, WHOLE)]
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


def test_a_hold_out_has_all_images_of_its_tasks(
    several: Several, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.training.HOLDOUT_FROM", 100)
    monkeypatch.setattr("worker.training.HOLDOUT_LEAST", 10)
    several.label(range(1, 51))
    several.learn()  # from then on tasks are chosen; those before were not
    several.label(range(51, 61))
    version = several.learn()
    assert version.metrics["evaluation"] == "hold-out"
    with several.store.database.read() as db:
        held = [image for image in list_tasks(db, several.project_id) if image.split == "holdout"]
    tasks = {image.ls_id for image in held}
    assert len(held) == len(tasks) * IMAGES
    assert tasks <= set(range(1, 61))


def test_every_image_has_a_row_of_the_table_and_every_task_one_prediction(
    several: Several,
) -> None:
    several.label(range(1, 31))
    several.learn()
    serve_newest(several)
    applied = apply(several.store, several.project, 0.0)
    assert len(applied.rows) == TASKS * IMAGES
    assert {row.image for row in applied.rows} == {0, 1, 2}
    suggested = [row for row in applied.rows if row.source == "suggested"]
    assert len(suggested) == 50 * IMAGES
    alike = [row.labels["kind"] == several.kinds[unit_of(row.task, row.image)] for row in suggested]
    assert np.mean(alike) > 0.8
    assert applied.pushing == 0  # the shortlist had them all


def test_whole_tasks_are_accepted(several: Several, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPRENTICE_SHORTLIST_MIN", "10")
    monkeypatch.setattr("worker.accepting.CHUNK", 4)
    several.label(range(1, 31))
    several.learn()
    serve_newest(several)
    sure = [AuditedPick(task, 0.2, wrong=False, group="") for task in range(200)]

    def trust(db: Connection) -> None:
        known = get_advice(db, several.project_id)
        assert known is not None
        save_advice(db, several.project_id, replace(known, picks=sure))
        change_goal(db, several.project_id, accept_error=0.05)
        mark_broken(db, several.project_id, {unit_of(31, 1): "not an image"})

    several.store.database.write(trust)
    several.run("learn")
    with several.store.database.read() as db:
        taken = list_acceptances(db, several.project_id, (MARKED,), 1000)
    assert len(taken) > 20
    assert 31 not in {one.task for one in taken}
    for one in taken:
        assert [each["item_index"] for each in one.result] == [0, 1, 2]
        assert len({each["id"] for each in one.result}) == IMAGES


def test_the_ledger_compares_image_by_image(several: Several) -> None:
    several.label(range(1, 31))
    several.learn()
    serve_newest(several)
    with several.store.database.read() as db:
        shown = {
            row.task_ls_id: row.result
            for row in db.execute(
                select(prediction).where(prediction.c.project_id == several.project_id)
            )
        }
    kept, edited, *_ = [task for task, result in shown.items() if len(result) == IMAGES]
    changed = [dict(one) for one in shown[edited]]
    other = next(name for name in CLASSES if name != changed[1]["value"]["choices"][0])
    changed[1] |= {"value": {"choices": [other]}}
    records = [
        AnnotationRecord(900 + task, task, 1e12, 1e12, result, parent_prediction=1)
        for task, result in ((kept, shown[kept]), (edited, changed))
    ]
    several.store.database.write(lambda db: save_annotations(db, several.project_id, records))
    with several.store.database.read() as db:
        ledger = read_ledger(db, several.project)
    assert (ledger.total.suggested, ledger.total.kept, ledger.total.edited) == (2, 1, 1)


def test_doubtful_labels_name_task_and_image(several: Several) -> None:
    several.label(range(1, 41))
    wrong = several.regions(5)
    unit = unit_of(5, 2)
    wrong[2] |= {"value": {"choices": [next(n for n in CLASSES if n != several.kinds[unit])]}}
    several.submit({5: wrong}, at=2.0)
    several.learn()
    with several.store.database.read() as db:
        doubts = get_review(db, several.project_id).suspicious
    assert (5, 2) in {(label.task, label.item) for label in doubts}


def test_similar_tasks_are_listed_once(several: Several) -> None:
    found = similar(several.store, several.project, 1, 20)
    assert len({one.task for one in found}) == len(found) == 20
    assert 1 not in {one.task for one in found}
    assert all(len(one.data["images"]) == IMAGES for one in found)


def test_what_was_owed_is_pushed_once_all_images_are_there(several: Several) -> None:
    several.label(range(1, 31))
    several.learn()
    serve_newest(several)
    several.show(80, uri(80, 0), uri(80, 1), "/new")
    several.show(79, None)

    def owing(db: Connection) -> None:
        owe(db, several.project_id, [79, 80])

    several.store.database.write(owing)
    settle(several)
    with several.store.database.read() as db:
        assert owed_tasks(db, several.project_id) == {80}
    assert several.items() == {}
    keys = {unit_of(80, 2): "series1"}
    several.store.database.write(lambda db: mark_embedded(db, several.project_id, SPACE, keys))
    settle(several)
    (item,) = several.items().values()
    assert (item.task, {one["item_index"] for one in item.result} <= {0, 1, 2}) == (80, True)


def settle(bench: Several) -> None:
    """Have publish look at what is owed; it pushes nothing, as there is no Label Studio."""
    with suppress(StudioUnreachable):
        bench.run("publish")
