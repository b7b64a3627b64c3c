"""What tasks with several images come to: hold-out, table, acceptances, ledger, review."""

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import Connection, select

from model.active_learning.advice import AuditedPick
from services.advice import newest_advice, save_advice
from services.embedding.similar_images import similar
from services.reports.ledger import read_ledger
from services.suggestions.bulk_labelling import apply
from store.database.schema import prediction
from store.predictions.auto_accepts import MARKED, list_acceptances
from store.predictions.pending_answers import add_pending_answers, tasks_with_pending_answer
from store.projects.goals import change_goal
from store.tasks.annotations import AnnotationRecord, save_annotations
from store.tasks.tasks import list_tasks, mark_broken, mark_embedded
from store.tasks.units import unit_of
from store.versions.label_reviews import get_review
from store.versions.versions import newest_version
from studio.errors import StudioUnreachable
from tests.support.serving import serve_newest
from tests.support.several_images import IMAGES, TASKS, Several, uri
from tests.support.workbench import CLASSES, SPACE


def test_a_hold_out_has_all_images_of_its_tasks(
    several: Several, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.training.holdout.HOLDOUT_FROM", 100)
    monkeypatch.setattr("services.training.holdout.HOLDOUT_LEAST", 10)
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
    monkeypatch.setattr("services.suggestions.auto_accept.CHUNK", 4)
    several.label(range(1, 31))
    several.learn()
    serve_newest(several)
    sure = [AuditedPick(task, 0.2, wrong=False, group="") for task in range(200)]

    def trust(db: Connection) -> None:
        known = newest_advice(db, several.project_id)
        assert known is not None
        version = newest_version(db, several.project_id)
        assert version is not None
        save_advice(db, several.project_id, version.id, replace(known, picks=sure))
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
        add_pending_answers(db, several.project_id, [79, 80])

    several.store.database.write(owing)
    settle(several)
    with several.store.database.read() as db:
        assert tasks_with_pending_answer(db, several.project_id) == {80}
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
