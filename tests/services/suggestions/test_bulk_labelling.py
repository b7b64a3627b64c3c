"""The end: a served version's suggestions for all the rest, in a table and on their way."""

import numpy as np
import pytest

from services.suggestions.bulk_labelling import ApplyError, apply
from store.predictions.publications import (
    PredictionItem,
    next_chunk,
    pending_publications,
    save_predictions,
)
from store.predictions.shortlists import get_shortlist
from store.tasks.annotations import AnnotationRecord, save_annotations
from store.tasks.tasks import TaskRecord, mark_broken, save_tasks
from store.work.pending_work import get_work
from tests.support.serving import serve_newest
from tests.support.workbench import Workbench, region


def learned(bench: Workbench) -> None:
    labels = {t: n for name in ("cat", "dog", "fox") for t, n in bench.tasks_of(name, 12).items()}
    bench.annotate(labels)
    bench.run("learn")
    serve_newest(bench)


def pending(bench: Workbench) -> dict[str, list[PredictionItem]]:
    with bench.store.database.read() as db:
        return {
            one.reason: list(next_chunk(db, one.id).items)
            for one in pending_publications(db, bench.project_id)
        }


def test_nothing_served_nothing_applied(workbench: Workbench) -> None:
    with pytest.raises(ApplyError, match="apprentice status"):
        apply(workbench.store, workbench.project)


def test_every_task_has_a_row_with_label_confidence_and_version(workbench: Workbench) -> None:
    learned(workbench)
    unread, broken, skipped = 1001, 1002, 240
    records = [TaskRecord(task, {"image": "/x"}, "/x", 1.0) for task in (unread, broken)]
    skip = AnnotationRecord(9999, skipped, 1.0, 1.0, [], was_cancelled=True)

    def write(db):
        save_tasks(db, workbench.project_id, records)
        mark_broken(db, workbench.project_id, {broken: "it is an HTML page"})
        save_annotations(db, workbench.project_id, [skip])

    workbench.store.database.write(write)
    applied = apply(workbench.store, workbench.project, 0.5)
    rows = {row.task: row for row in applied.rows}
    assert set(rows) == {*workbench.truth, unread, broken}
    assert (rows[unread].source, rows[broken].reason) == ("missing", "it is an HTML page")
    assert (rows[skipped].source, rows[skipped].labels) == ("skipped", {})
    annotated = [row for row in applied.rows if row.source == "annotated"]
    assert len(annotated) == 36
    assert all(row.labels == {"kind": workbench.truth[row.task]} for row in annotated)
    suggested = [row for row in applied.rows if row.source == "suggested"]
    right = [row.labels["kind"] == workbench.truth[row.task] for row in suggested]
    assert np.mean(right) > 0.9
    assert all(row.version == "apprentice v1" and row.confidence >= 0.5 for row in suggested)


def test_what_is_less_sure_than_asked_for_has_no_label(workbench: Workbench) -> None:
    learned(workbench)
    strict = apply(workbench.store, workbench.project, 0.9)
    for row in strict.rows:
        if row.source == "unsure":
            assert (row.labels, row.reason) == ({}, "less sure than was asked for")
            assert row.confidence < 0.9
        elif row.source == "suggested":
            assert row.confidence >= 0.9
    assert {row.source for row in strict.rows} == {"annotated", "suggested", "unsure"}


def test_the_rest_is_pushed_and_nothing_that_stands_twice(workbench: Workbench) -> None:
    learned(workbench)
    with workbench.store.database.read() as db:
        chosen = set(get_shortlist(db, workbench.project_id))
    applied = apply(workbench.store, workbench.project, 0.0)
    ((reason, items),) = pending(workbench).items()
    assert reason == "refresh"
    unlabelled = {row.task for row in applied.rows if row.source == "suggested"}
    assert {item.task for item in items} == unlabelled - chosen
    assert applied.pushing == len(items)
    assert all(item.result and 0.5 <= item.score <= 1 for item in items)
    with workbench.store.database.read() as db:
        wanted = get_work(db, workbench.project_id, "publish")
    assert wanted.wanted > wanted.done


def test_empty_predictions_are_replaced_unless_somebody_may_have_them_open(
    workbench: Workbench,
) -> None:
    learned(workbench)
    with workbench.store.database.read() as db:
        chosen = get_shortlist(db, workbench.project_id)
    version = workbench.project.served_version_id
    other = next(t for t in range(240, 0, -1) if t not in chosen)
    empty = [PredictionItem(chosen[0], 0.01, []), PredictionItem(other, 0.7, [])]
    workbench.store.database.write(
        lambda db: save_predictions(db, workbench.project_id, version, empty, "pushed")
    )
    apply(workbench.store, workbench.project, 0.0)
    replaced = {item.task: item.score for item in pending(workbench)["apply"]}
    assert replaced == {chosen[0]: 0.01, other: 0.7}
    now = AnnotationRecord(
        8888, 1, 1.0, 9e9, [region("kind", "choices", [workbench.truth[1]])]
    )  # somebody is at work
    workbench.store.database.write(lambda db: save_annotations(db, workbench.project_id, [now]))
    from store.database.schema import publication

    workbench.store.database.write(lambda db: db.execute(publication.delete()))
    apply(workbench.store, workbench.project, 0.0)
    assert {item.task for item in pending(workbench)["apply"]} == {other}


def test_of_several_classes_none_is_a_label_too(workbench: Workbench) -> None:
    workbench.configure(
        '<Choices name="seen" toName="image" choice="multiple">'
        '<Choice value="cat"/><Choice value="dog"/></Choices>'
    )
    sets = {"cat": ["cat"], "dog": ["dog"], "fox": []}
    labels = {t: n for name in sets for t, n in workbench.tasks_of(name, 20).items()}
    workbench.submit(
        {
            task: [region("seen", "choices", sets[name])] if sets[name] else []
            for task, name in labels.items()
        }
    )
    workbench.run("learn")
    serve_newest(workbench)
    rows = apply(workbench.store, workbench.project, 0.5).rows
    foxes = [row for row in rows if workbench.truth[row.task] == "fox" and row.task not in labels]
    none = [row for row in foxes if row.labels == {"seen": []}]
    assert len(none) > 0.9 * len(foxes)
    assert {row.source for row in none} == {"suggested"}
