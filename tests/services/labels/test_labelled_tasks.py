"""Tasks with a usable label: the count is that of all annotations, without reading them all."""

import random

import pytest

from services.labels.aggregation import read_labels
from services.labels.labelled_tasks import count_labelled_tasks, mark_labelled_tasks
from store.predictions.deletions import delete_tasks
from store.projects.projects import change_project, save_project
from store.tasks.accept_marks import marked
from store.tasks.annotations import (
    AnnotationRecord,
    current_annotations,
    delete_annotations,
    save_annotations,
)
from store.tasks.labelled import unmarked_tasks
from store.tasks.tasks import TaskRecord, save_tasks, task_ids
from store.tasks.units import task_of
from studio.config import parse_label_config
from tests.support.workbench import Workbench, label_config, region


def count(bench: Workbench) -> int:
    config = parse_label_config(bench.project.label_config)
    with bench.store.database.read() as db:
        return count_labelled_tasks(db, bench.project_id, config)


def count_by_reading_all(bench: Workbench) -> int:
    config = parse_label_config(bench.project.label_config)
    with bench.store.database.read() as db:
        labels = read_labels(current_annotations(db, bench.project_id), config)
        return len(task_ids(db, bench.project_id).intersection(map(task_of, labels)))


def unmarked(bench: Workbench) -> set[int]:
    with bench.store.database.read() as db:
        return unmarked_tasks(db, bench.project_id)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_to_annotations_the_count_is_right(
    workbench: Workbench, seed: int
) -> None:
    rng = random.Random(seed)
    project_id, database = workbench.project_id, workbench.store.database

    def annotate(db) -> None:
        cat = [region("kind", "choices", ["cat"])]
        unusable = [[], marked(cat), [region("other", "choices", ["cat"])]]
        result = rng.choice([cat, cat, cat, *unusable])
        at = float(next(clock))
        record = AnnotationRecord(
            ls_id=rng.randint(1, 60),
            task_ls_id=rng.randint(220, 260),  # those after 240 are not known yet
            created_at=at,
            updated_at=at,
            result=result,
            was_cancelled=rng.random() < 0.2,
        )
        save_annotations(db, project_id, [record])

    def add(db) -> None:
        task = rng.randint(220, 260)
        save_tasks(db, project_id, [TaskRecord(task, {"image": f"/{task}"}, f"/{task}", 1.0)])

    def configure(db) -> None:
        config = rng.choice([label_config(), label_config(("fox", "cow"))])
        save_project(db, "default", 1, 1000, label_config=config)

    happenings = [
        *[annotate] * 12,
        *[add] * 3,
        lambda db: delete_annotations(db, project_id, [rng.randint(1, 60)]),
        lambda db: delete_tasks(db, project_id, [rng.randint(220, 260)]),
        configure,
    ]
    clock = iter(range(1, 1000))
    counts = set()
    for _ in range(150):
        database.write(rng.choice(happenings))
        if rng.random() < 0.3:
            mark_labelled_tasks(workbench.store, project_id)
            assert not unmarked(workbench)
        assert count(workbench) == count_by_reading_all(workbench)
        counts.add(count(workbench))
    assert len(counts) > 5


def test_only_what_changed_is_read_again(workbench: Workbench) -> None:
    workbench.annotate(workbench.truth)
    assert unmarked(workbench) == set(workbench.truth)
    mark_labelled_tasks(workbench.store, workbench.project_id)
    assert not unmarked(workbench)
    workbench.annotate({7: "dog"}, at=2.0)
    assert unmarked(workbench) == {7}
    assert count(workbench) == 240


def test_learning_marks_what_it_learned_from(workbench: Workbench) -> None:
    workbench.annotate(workbench.tasks_of("cat", 3) | workbench.tasks_of("dog", 3))
    workbench.run("learn")
    assert not unmarked(workbench)
    assert count(workbench) == 6


def test_another_label_config_clears_the_marks(workbench: Workbench) -> None:
    workbench.annotate({1: "cat", 2: "dog"})
    mark_labelled_tasks(workbench.store, workbench.project_id)
    other = '<View><Image name="image" value="$image"/><Number name="n" toName="image"/></View>'
    workbench.store.database.write(
        lambda db: change_project(db, workbench.project_id, label_config=other)
    )
    assert unmarked(workbench) == {1, 2}
    assert count(workbench) == 0
