"""The client against the real Label Studio: each call, and the facts that the loop stands on."""

from __future__ import annotations

import pytest

from backend.demo.label_studio import LabelStudioServer
from studio.calls import tasks as task_calls
from studio.client import StudioClient
from studio.config import parse_label_config
from studio.errors import StudioNotFound, StudioRejected
from studio.records.annotations import NewPrediction
from studio.records.projects import ProjectInfo
from studio.records.tasks import TaskInfo
from studio.regions import StudioRegion
from tests.conftest import TWO_CLASSES

pytestmark = pytest.mark.e2e

CONTROL = parse_label_config(TWO_CLASSES).controls[0]
(CAT,) = CONTROL.write("cat", 0.9)


def predict(tasks: list[TaskInfo], version: str, scores: list[float]) -> list[NewPrediction]:
    return [
        NewPrediction(task.id, (CAT,), score, version)
        for task, score in zip(tasks, scores, strict=True)
    ]


def test_who_and_what(studio: StudioClient, label_studio: LabelStudioServer) -> None:
    assert studio.whoami().email == label_studio.email
    assert studio.version() == "1.23.2"
    assert studio.seconds_spent > 0


def test_a_project(studio: StudioClient, studio_project: ProjectInfo) -> None:
    assert studio.get_project(studio_project.id) == studio_project
    assert studio_project.label_config == TWO_CLASSES
    assert studio_project.model_version == ""
    assert studio_project in list(studio.projects())
    changed = studio.patch_project(
        studio_project.id, sampling="Uncertainty sampling", maximum_annotations=2
    )
    assert (changed.sampling, changed.maximum_annotations) == ("Uncertainty sampling", 2)
    assert studio.patch_project(studio_project.id, model_version="").model_version == ""
    with pytest.raises(StudioRejected, match="Model version doesn't exist"):
        studio.patch_project(studio_project.id, model_version="never pushed")


def test_a_deleted_project_is_not_found(studio: StudioClient) -> None:
    project = studio.create_project("gone", TWO_CLASSES)
    studio.delete_project(project.id)
    for call in (
        lambda: studio.get_project(project.id),
        lambda: list(studio.tasks(project.id)),
        lambda: studio.predictions(project=project.id),
        lambda: studio.backends(project.id),
        lambda: studio.webhooks(project.id),
        lambda: studio.next_task(project.id),
        lambda: studio.model_versions(project.id),
    ):
        with pytest.raises(StudioNotFound):
            call()


def test_all_tasks_are_listed_over_pages_though_one_is_deleted_meanwhile(
    studio: StudioClient,
    studio_project: ProjectInfo,
    tasks: list[TaskInfo],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(task_calls, "LIGHT_PAGE", 2)
    ids = [task.id for task in tasks]
    assert list(studio.task_ids(studio_project.id)) == ids
    listing = studio.tasks(studio_project.id)
    first = next(listing)
    assert first.data == {"image": "http://images.example/0.jpg"}
    studio.delete_task(first.id)
    assert [task.id for task in listing] == ids[1:]
    assert list(studio.task_ids(studio_project.id)) == ids[1:]


def test_annotations_are_found_by_time_with_all_that_is_needed(
    studio: StudioClient, studio_project: ProjectInfo, tasks: list[TaskInfo]
) -> None:
    newest = studio.latest_change(studio_project.id).at
    assert newest == max(task.updated_at for task in tasks if task.updated_at)
    assert list(studio.changed_tasks(studio_project.id, newest)) == []
    prediction = studio.create_prediction(predict(tasks[:1], "v1", [0.5])[0])
    made = studio.create_annotation(
        tasks[1].id, [CAT], lead_time=2.5, ground_truth=True, parent_prediction=None
    )
    kept = studio.create_annotation(tasks[0].id, [CAT], parent_prediction=prediction.id)
    assert kept.parent_prediction == prediction.id
    changed = {task.id: task for task in studio.changed_tasks(studio_project.id, newest)}
    assert set(changed) == {tasks[0].id, tasks[1].id}
    assert changed[tasks[1].id].annotations == (made,)
    assert changed[tasks[0].id].annotations == (kept,)
    assert made.ground_truth
    assert made.lead_time == 2.5
    assert made.completed_by == studio.whoami().id
    assert CONTROL.read(made.result) == "cat"
    after = list(studio.changed_tasks(studio_project.id, newest, after=tasks[0].id))
    assert [task.id for task in after] == [tasks[1].id]


def test_every_change_moves_the_tasks_time_but_bulk_predictions_dont(
    studio: StudioClient, studio_project: ProjectInfo, tasks: list[TaskInfo]
) -> None:
    project, task = studio_project.id, tasks[0].id
    seen = studio.latest_change(project).at

    def moved() -> bool:
        nonlocal seen
        before, seen = seen, studio.latest_change(project).at
        return [found.id for found in studio.changed_tasks(project, before)] == [task]

    annotation = studio.create_annotation(task, [CAT])
    assert moved()
    studio.edit_annotation(annotation.id, CONTROL.write("dog", 0.5))
    assert moved()
    assert studio.get_annotation(annotation.id) is not None
    studio.delete_annotation(annotation.id)
    assert moved()
    assert studio.get_annotation(annotation.id) is None
    assert studio.create_annotation(task, [], was_cancelled=True).was_cancelled
    assert moved()
    studio.edit_task(task, {"image": "http://images.example/new.jpg"})
    assert moved()
    prediction = studio.create_prediction(predict(tasks[:1], "v1", [0.5])[0])
    assert moved()
    studio.delete_prediction(prediction.id)
    assert moved()
    studio.import_predictions(project, predict(tasks, "v2", [0.1] * 5))
    assert not moved()
    studio.delete_model_version(project, "v2")
    assert not moved()


def test_the_newest_changes_come_first_with_the_counts(
    studio: StudioClient, studio_project: ProjectInfo, tasks: list[TaskInfo]
) -> None:
    project = studio_project.id
    for task in (tasks[1], tasks[3]):
        studio.create_annotation(task.id, [CAT])
    recent = studio.recent_changes(project, 2)
    assert [task.id for task in recent.tasks] == [tasks[3].id, tasks[1].id]
    assert all(CONTROL.read(task.annotations[0].result) == "cat" for task in recent.tasks)
    assert recent.latest == studio.latest_change(project)
    assert (recent.latest.tasks, recent.latest.annotations) == (5, 2)
    assert not recent.is_all
    assert studio.recent_changes(project, 5).is_all


def test_settings_are_listed_and_a_model_version_is_shown(
    studio: StudioClient, studio_project: ProjectInfo, tasks: list[TaskInfo]
) -> None:
    project = studio_project.id
    listed = studio.project_settings([project, 999_999])
    assert listed.keys() == {project}
    assert listed[project].label_config == studio_project.label_config
    assert listed[project].created_at == studio_project.created_at
    changed = studio_project.label_config.replace("dog", "owl")
    studio.patch_project(project, label_config=changed)
    assert studio.project_settings([project])[project].label_config == changed
    studio.import_predictions(project, predict(tasks, "v1", [0.1] * 5))
    studio.show_model_version(project, "v1")
    assert studio.model_version(project) == "v1"
    assert studio.get_project(project).model_version == "v1"
    with pytest.raises(StudioRejected):
        studio.show_model_version(project, "v2")


def test_a_project_counts_annotations_and_skips(
    studio: StudioClient, studio_project: ProjectInfo, tasks: list[TaskInfo]
) -> None:
    studio.create_annotation(tasks[0].id, [CAT])
    studio.create_annotation(tasks[1].id, [], was_cancelled=True)
    project = studio.get_project(studio_project.id)
    assert (project.tasks, project.annotations, project.skipped) == (5, 1, 1)


def test_predictions_are_pushed_listed_and_deleted(
    studio: StudioClient, studio_project: ProjectInfo, tasks: list[TaskInfo]
) -> None:
    project = studio_project.id
    assert studio.import_predictions(project, []) == 0
    assert studio.import_predictions(project, predict(tasks, "v1", [0.1, 0.2, 0.3, 0.4, 0.5])) == 5
    empty = NewPrediction(tasks[0].id, (), 0.7, "v2")
    assert studio.import_predictions(project, [empty]) == 1
    bad_score = NewPrediction(tasks[1].id, (CAT,), 1.5, "v2")
    zebra = StudioRegion(CAT.to_json() | {"value": {"choices": ["zebra"]}})
    bad_class = NewPrediction(tasks[1].id, (zebra,), 0.5, "v2")
    assert studio.import_predictions(project, [bad_score, bad_class]) == 0
    with pytest.raises(StudioRejected, match="invalid"):
        studio.import_predictions(project, [NewPrediction(999_999_999, (CAT,), 0.5, "v2")])
    assert studio.model_versions(project) == {"v1": 5, "v2": 1}
    listed = studio.predictions(project=project)
    assert sorted(p.score or 0 for p in listed) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.7]
    of_first = studio.predictions(task=tasks[0].id)
    assert {(p.model_version, p.score, len(p.result)) for p in of_first} == {
        ("v1", 0.1, 1),
        ("v2", 0.7, 0),
    }
    assert CONTROL.read(studio.predictions(task=tasks[1].id)[0].result) == "cat"
    with pytest.raises(ValueError):
        studio.predictions()
    assert studio.delete_model_version(project, "v1") == 5
    assert studio.model_versions(project) == {"v2": 1}


def test_next_follows_the_served_versions_score_for_two_annotators(
    label_studio: LabelStudioServer,
    studio: StudioClient,
    studio_project: ProjectInfo,
    tasks: list[TaskInfo],
) -> None:
    project = studio_project.id
    studio.import_predictions(project, predict(tasks, "old", [0.1, 0.2, 0.3, 0.4, 0.5]))
    studio.import_predictions(project, predict(tasks, "new", [0.4, 0.1, 0.3, 0.05, 0.2]))
    studio.patch_project(project, model_version="new", sampling="Uncertainty sampling")
    token = label_studio.add_user("second@example.com", "a long password")
    handed_out = []
    with StudioClient(label_studio.url, token, 60.0) as second:
        assert second.whoami().email == "second@example.com"
        for turn in range(5):
            annotator = second if turn % 2 else studio
            task = annotator.next_task(project)
            assert task is not None
            assert annotator.next_task(project) is not None
            handed_out.append(task.id)
            served = [p for p in task.predictions if p.model_version == "new"]
            annotator.create_annotation(task.id, [CAT], parent_prediction=served[0].id)
        assert second.next_task(project) is None
    assert handed_out == [tasks[n].id for n in (3, 1, 4, 2, 0)]
