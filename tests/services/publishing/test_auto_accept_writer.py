"""Accepted suggestions in the real Label Studio: written once, known again, taken back."""

import pytest

from backend.demo.label_studio import LabelStudioServer
from services.sync.records import annotation_record
from store.predictions.auto_accepts import (
    SENT,
    WANTED,
    WITHDRAWN,
    WRITTEN,
    Acceptance,
    add_acceptances,
    list_acceptances,
    set_acceptance_state,
    withdraw,
)
from store.predictions.shortlists import RANDOM, Choice, set_shortlist
from store.projects.connections import DEFAULT, save_connection
from store.projects.projects import change_project, save_project
from store.tasks.accept_marks import is_accepted, marked
from store.tasks.annotations import current_annotations, save_annotations
from store.versions.versions import SERVED, START
from studio.client import StudioClient
from studio.records.annotations import AnnotationInfo
from studio.records.projects import ProjectInfo
from studio.regions import StudioRegion
from tests.support.versions import plain_version
from tests.support.workbench import SPACE, Workbench, region

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

RESULT = marked([region("kind", "choices", ["cat"]) | {"score": 0.99}])


@pytest.fixture
def bench(
    workbench: Workbench,
    label_studio: LabelStudioServer,
    studio: StudioClient,
    studio_project: ProjectInfo,
) -> Workbench:
    """A project of three tasks, for all of which a suggestion is accepted."""
    made = int(studio_project.created_at.timestamp())
    info = studio_project
    studio.import_tasks(info.id, [{"data": {"image": f"/data/{i}.jpg"}} for i in range(3)])
    tasks = list(studio.task_ids(info.id))

    def write(db):
        save_connection(db, DEFAULT, label_studio.url, label_studio.token)
        project = save_project(db, DEFAULT, info.id, made, label_config=info.label_config)
        change_project(db, project.id, embedding_space=SPACE)
        version = plain_version(db, project.id, kind=START, status=SERVED, labels=0)
        items = [Acceptance(task, version.id, 0.99, RESULT, WANTED, None, 0.0) for task in tasks]
        add_acceptances(db, project.id, items)
        return project.id

    project_id = workbench.store.database.write(write)
    return Workbench(workbench.store, project_id, dict.fromkeys(tasks, "cat"))


def states(bench: Workbench) -> dict[int, str]:
    with bench.store.database.read() as db:
        return {item.task: item.state for item in list_acceptances(db, bench.project_id)}


def written(bench: Workbench, studio: StudioClient) -> list[AnnotationInfo]:
    return [a for task in bench.truth for a in studio.get_task(task).annotations]


def test_each_is_written_once_and_known_again(bench: Workbench, studio: StudioClient) -> None:
    bench.run("publish")
    assert set(states(bench).values()) == {WRITTEN}
    first = next(iter(bench.truth))
    bench.store.database.write(lambda db: set_acceptance_state(db, bench.project_id, first, SENT))
    bench.run("publish")  # as after a kill between the call and our note of it
    there = written(bench, studio)
    assert [a.task for a in there] == list(bench.truth)
    assert all(a.result[0].value == {"choices": ["cat"]} for a in there)
    records = [annotation_record(a) for a in there]
    assert all(is_accepted(r.result, r.created_at, r.updated_at) for r in records)
    bench.store.database.write(lambda db: save_annotations(db, bench.project_id, records))
    with bench.store.database.read() as db:
        assert current_annotations(db, bench.project_id) == []


def test_what_a_person_labelled_meanwhile_is_left_alone(
    bench: Workbench, studio: StudioClient
) -> None:
    mine, *others = bench.truth
    human = studio.create_annotation(mine, [StudioRegion(region("kind", "choices", ["dog"]))])
    records = [annotation_record(human)]
    bench.store.database.write(lambda db: save_annotations(db, bench.project_id, records))
    bench.run("publish")
    assert states(bench) == dict.fromkeys(others, WRITTEN)
    assert [a.id for a in studio.get_task(mine).annotations] == [human.id]


def test_what_was_drawn_meanwhile_is_left_to_people(bench: Workbench, studio: StudioClient) -> None:
    drawn, *others = bench.truth
    with bench.store.database.read() as db:
        version = list_acceptances(db, bench.project_id)[0].version_id
    bench.store.database.write(
        lambda db: set_shortlist(db, bench.project_id, version, [Choice(drawn, RANDOM, 0.1)])
    )
    bench.run("publish")
    assert states(bench) == dict.fromkeys(others, WRITTEN)
    assert studio.get_task(drawn).annotations == ()


def test_what_is_withdrawn_is_deleted_and_a_deleted_task_forgotten(
    bench: Workbench, studio: StudioClient
) -> None:
    bench.run("publish")
    gone, *left = bench.truth
    studio.delete_task(gone)
    bench.store.database.write(lambda db: withdraw(db, bench.project_id))
    assert set(states(bench).values()) == {WITHDRAWN}
    bench.run("publish")
    assert states(bench) == {}
    assert all(studio.get_task(task).annotations == () for task in left)
