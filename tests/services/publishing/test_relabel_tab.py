"""Doubtful labels are listed in a tab of the real Label Studio, for a second look."""

from dataclasses import replace

import numpy as np
import pytest
from cleanlab.multiannotator import get_active_learning_scores

from backend.demo.label_studio import LabelStudioServer
from services.publishing.relabel_tab import OFFER, worst_labels
from store.projects.connections import DEFAULT, save_connection
from store.projects.projects import change_project
from store.tasks.annotations import AnnotationRecord, save_annotations
from store.tasks.tasks import TaskRecord, save_tasks
from store.versions.label_reviews import (
    ContestedLabel,
    Opinion,
    Review,
    SuspiciousLabel,
    save_review,
)
from studio.client import StudioClient
from studio.config import parse_label_config
from studio.records.projects import ProjectInfo
from tests.support.workbench import Workbench, label_config, region

SIDES = (Opinion("cat", [1]), Opinion("dog", [2]))


def found(tasks: dict[int, float], contested: dict[int, float] | None = None) -> Review:
    return Review(
        at=5e9,
        annotators=(),
        suspicious=[SuspiciousLabel("kind", t, "cat", q, "dog", 7) for t, q in tasks.items()],
        contested=[
            ContestedLabel("kind", t, SIDES, "dog", q) for t, q in (contested or {}).items()
        ],
    )


def test_the_worst_labels_come_first_and_no_task_twice() -> None:
    config = parse_label_config(label_config())
    review = found({1: 0.3, 2: 0.1, 3: 0.2}, {3: 0.05, 4: 0.15})
    assert worst_labels(review, config, 10) == [3, 2, 4, 1]
    assert worst_labels(review, config, 2) == [3, 2]


def test_labels_of_one_annotator_come_in_the_order_of_active_lab() -> None:
    config = parse_label_config(label_config())
    p = np.random.default_rng(0).dirichlet(np.ones(3), 30)
    given = np.arange(30) % 3
    quality = p[np.arange(30), given]
    review = found(dict(enumerate(quality.tolist(), start=1)))
    scores, _ = get_active_learning_scores(given[:, None].astype(float), p)
    assert worst_labels(review, config, 30) == [int(row) + 1 for row in np.argsort(scores)]


def test_of_two_equally_sure_the_one_that_fewer_have_labelled_comes_first() -> None:
    config = parse_label_config(label_config())
    sides = [Opinion("cat", [1, 2, 3]), Opinion("dog", [4])]
    review = replace(found({1: 0.6}), contested=[ContestedLabel("kind", 2, sides, "cat", 0.6)])
    assert worst_labels(review, config, 9) == [1, 2]


@pytest.mark.e2e
@pytest.mark.slow
def test_the_tab_follows_the_review(
    workbench: Workbench,
    label_studio: LabelStudioServer,
    studio: StudioClient,
    studio_project: ProjectInfo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("APPRENTICE_RELABEL_MOST", "2")
    images = [{"data": {"image": f"/data/{i}.jpg"}} for i in range(6)]
    studio.import_tasks(studio_project.id, images)
    tasks = list(studio.task_ids(studio_project.id))

    def write(db):
        save_connection(db, DEFAULT, label_studio.url, label_studio.token)
        change_project(
            db,
            workbench.project_id,
            ls_id=studio_project.id,
            ls_created=int(studio_project.created_at.timestamp()),
        )
        records = [TaskRecord(task, {"image": f"/{task}"}, f"/{task}", 1.0) for task in tasks]
        save_tasks(db, workbench.project_id, records)

    workbench.store.database.write(write)

    def published(review: Review) -> int | None:
        workbench.store.database.write(lambda db: save_review(db, workbench.project_id, review))
        workbench.run("publish")
        with workbench.store.database.read() as db:
            known = OFFER.of(workbench.project_id).get(db)
        return known.tab if known else None

    tab = published(found({tasks[0]: 0.1, tasks[3]: 0.2, tasks[5]: 0.3}))
    assert tab is not None
    assert studio.tab_tasks(studio_project.id, tab) == [tasks[0], tasks[3]]
    confirmed = AnnotationRecord(1, tasks[0], 1.0, 2.0, [region("kind", "choices", ["cat"])])
    workbench.store.database.write(
        lambda db: save_annotations(db, workbench.project_id, [confirmed])
    )
    assert published(found({tasks[0]: 0.1, tasks[3]: 0.2, tasks[5]: 0.3})) == tab
    assert studio.tab_tasks(studio_project.id, tab) == [tasks[3], tasks[5]]
    assert published(found({tasks[4]: 0.1, tasks[0]: 0.2})) == tab
    assert studio.tab_tasks(studio_project.id, tab) == [tasks[4]]
    studio.delete_tab(tab)  # an admin closes it
    other = published(found({tasks[1]: 0.1}))
    assert studio.tab_tasks(studio_project.id, other) == [tasks[1]]
    assert published(found({})) is None
    monkeypatch.setenv("APPRENTICE_RELABEL_MOST", "0")
    assert published(found({tasks[1]: 0.1})) is None
