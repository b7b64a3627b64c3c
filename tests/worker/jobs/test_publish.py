"""publish, against the real Label Studio: what it holds is what was decided, once."""

from collections import Counter
from typing import Any

import pytest
from sqlalchemy import select

from backend.demo.label_studio import LabelStudioServer
from services.publishing.rate_limit import CAPACITY_SECONDS, draw, low_priority_time
from store.database.schema import prediction
from store.predictions.pending_answers import add_pending_answers, tasks_with_pending_answer
from store.predictions.publications import (
    PredictionItem,
    add_publication,
    begin_chunk,
    next_chunk,
    pending_publications,
    save_predictions,
    scores_of,
)
from store.predictions.shortlists import Choice, set_shortlist
from store.predictions.shown import suggestions_by_task
from store.projects.connections import DEFAULT, save_connection
from store.projects.key_values import WEB_STARTED
from store.projects.projects import change_project, save_project
from store.tasks.annotations import AnnotationRecord, save_annotations
from store.tasks.tasks import TaskRecord, mark_embedded, save_tasks
from store.versions.versions import (
    HEAD,
    RETIRED,
    SERVED,
    START,
    Version,
    get_version,
)
from store.work.pending_work import get_work
from studio.client import StudioClient
from studio.config import parse_label_config
from studio.records.annotations import NewPrediction, PredictionInfo
from studio.records.projects import ProjectInfo
from studio.regions import regions_from_json, regions_to_json
from tests.support.versions import plain_version
from tests.support.workbench import SPACE, Workbench

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

RESULT = [
    {"from_name": "kind", "to_name": "image", "type": "choices", "value": {"choices": ["cat"]}}
]


class Published:
    """A project in the real Label Studio, as our store knows it, and what is pushed there."""

    def __init__(self, bench: Workbench, studio: StudioClient, info: ProjectInfo) -> None:
        self.bench = bench
        self.studio = studio
        self.info = info
        self.tasks = list(
            studio.import_tasks(
                info.id, [{"data": {"image": f"/data/{i}.jpg"}} for i in range(12)]
            ).task_ids
        ) or [task.id for task in studio.tasks(info.id)]

    def version(self, kind: str = HEAD) -> Version:
        return self.bench.store.database.write(
            lambda db: plain_version(
                db, self.bench.project_id, kind=kind, metrics={"accuracy": {"value": 0.9}}
            )
        )

    def decide(
        self,
        version: Version,
        tasks: list[int],
        reason: str = "version",
        result: list[dict[str, Any]] = RESULT,
    ) -> None:
        items = [PredictionItem(task, 0.1 + 0.01 * i, result) for i, task in enumerate(tasks)]

        def write(db):
            add_publication(db, self.bench.project_id, version.id, reason, items)
            choices = [Choice(task, "margin", None) for task in tasks]
            set_shortlist(db, self.bench.project_id, version.id, choices)

        self.bench.store.database.write(write)

    def held(self) -> list[PredictionInfo]:
        return self.studio.predictions(project=self.info.id)

    def counts(self) -> Counter[tuple[int, str]]:
        return Counter((p.task, p.model_version) for p in self.held())

    @property
    def shown(self) -> str:
        return self.studio.get_project(self.info.id).model_version


@pytest.fixture
def published(
    workbench: Workbench,
    label_studio: LabelStudioServer,
    studio: StudioClient,
    studio_project: ProjectInfo,
) -> Published:
    made = int(studio_project.created_at.timestamp())

    def write(db):
        save_connection(db, DEFAULT, label_studio.url, label_studio.token)
        project = save_project(
            db, DEFAULT, studio_project.id, made, label_config=studio_project.label_config
        )
        change_project(db, project.id, embedding_space=SPACE)
        return project.id

    bench = Workbench(workbench.store, workbench.store.database.write(write), {})
    found = Published(bench, studio, studio_project)

    def remember(db):
        records = [TaskRecord(task, {}, f"/{task}", 1.0) for task in found.tasks]
        save_tasks(db, bench.project_id, records)
        keys = {task: f"image{i + 1}" for i, task in enumerate(found.tasks)}
        mark_embedded(db, bench.project_id, SPACE, keys)

    bench.store.database.write(remember)
    return found


def test_predictions_and_the_version_are_shown(published: Published) -> None:
    version = published.version()
    published.decide(version, published.tasks[:5])
    published.bench.run("publish")
    assert published.counts() == {(task, version.name): 1 for task in published.tasks[:5]}
    assert published.shown == version.name
    assert published.bench.project.served_version_id == version.id
    with published.bench.store.database.read() as db:
        served = get_version(db, version.id)
    assert served is not None
    assert served.status == SERVED


def test_nested_choices_are_pushed_though_the_bulk_import_drops_them(published: Published) -> None:
    tree = '<Choice value="pet"><Choice value="cat"/><Choice value="dog"/></Choice>'
    xml = (
        '<View><Image name="image" value="$image"/><Choices name="deep" toName="image" '
        f'allowNested="true">{tree}<Choice value="other"/></Choices></View>'
    )
    published.studio.patch_project(published.info.id, label_config=xml)
    published.bench.store.database.write(
        lambda db: change_project(db, published.bench.project_id, label_config=xml)
    )
    control = parse_label_config(xml).controls[0]
    result = regions_to_json(control.write(frozenset({("pet", "cat")}), 0.9))
    version = published.version()
    published.decide(version, published.tasks[:3], result=result)
    published.bench.run("publish")
    assert published.counts() == {(task, version.name): 1 for task in published.tasks[:3]}
    assert all(regions_to_json(prediction.result) == result for prediction in published.held())
    assert published.shown == version.name


@pytest.mark.parametrize("count", [5, 12], ids=["one by one", "in bulk"])
def test_a_kill_between_the_push_and_its_note_pushes_nothing_twice(
    published: Published, count: int
) -> None:
    version = published.version()
    published.decide(version, published.tasks[:count])
    with published.bench.store.database.read() as db:
        (pending,) = pending_publications(db, published.bench.project_id)
        chunk = next_chunk(db, pending.id)
    assert chunk is not None
    published.bench.store.database.write(lambda db: begin_chunk(db, chunk))
    sent = [
        NewPrediction(i.task, tuple(regions_from_json(i.result)), i.score, version.name)
        for i in chunk.items
    ]
    published.studio.import_predictions(published.info.id, sent[:3])  # and here it was killed
    published.bench.run("publish")
    assert published.counts() == {(task, version.name): 1 for task in published.tasks[:count]}
    assert published.shown == version.name


@pytest.mark.parametrize("count", [5, 12], ids=["one by one", "in bulk"])
def test_a_task_that_was_deleted_meanwhile_costs_only_itself(
    published: Published, count: int
) -> None:
    version = published.version()
    published.decide(version, published.tasks[:count])
    published.studio.delete_task(published.tasks[2])
    published.bench.run("publish")
    left = [task for task in published.tasks[:count] if task != published.tasks[2]]
    assert published.counts() == {(task, version.name): 1 for task in left}


def test_the_first_of_a_new_version_are_served_before_the_others_are_pushed(
    published: Published,
) -> None:
    version, bench = published.version(), published.bench
    first, others = published.tasks[:3], published.tasks[3:]
    published.decide(version, first)
    published.decide(version, others, "refill")
    bench.run("publish")
    assert published.shown == version.name
    assert published.counts() == {(task, version.name): 1 for task in published.tasks}
    with bench.store.database.read() as db:
        served = get_version(db, version.id)
        pushed = db.execute(select(prediction.c.task_ls_id, prediction.c.at)).all()
    assert served is not None
    assert served.published_at is not None
    assert {row.task_ls_id for row in pushed if row.at < served.published_at} == set(first)


def test_a_class_that_the_config_lost_costs_only_its_own_prediction(published: Published) -> None:
    lost = [{**RESULT[0], "value": {"choices": ["wolf"]}}]
    version = published.version()
    published.decide(version, published.tasks[:2])
    published.decide(version, published.tasks[2:4], "refill", lost)
    published.bench.run("publish")
    assert published.counts().keys() >= {(task, version.name) for task in published.tasks[:2]}
    assert published.shown == version.name
    with published.bench.store.database.read() as db:
        assert not pending_publications(db, published.bench.project_id)


def test_the_admins_own_model_version_stays(published: Published) -> None:
    theirs = NewPrediction(published.tasks[0], tuple(regions_from_json(RESULT)), 0.4, "their model")
    published.studio.import_predictions(published.info.id, [theirs])
    published.studio.patch_project(published.info.id, model_version="their model")
    published.decide(published.version(), published.tasks[:3])
    published.bench.run("publish")
    assert published.shown == "their model"


def test_a_refill_adds_to_the_version_and_leaves_what_stands(published: Published) -> None:
    version = published.version()
    published.decide(version, published.tasks[:3])
    published.bench.run("publish")
    before = {p.id for p in published.held()}
    published.decide(version, published.tasks[:6], "refill")
    published.bench.run("publish")
    assert published.counts() == {(task, version.name): 1 for task in published.tasks[:6]}
    assert before <= {p.id for p in published.held()}


def test_an_answer_that_is_on_record_is_not_pushed_again(published: Published) -> None:
    version = published.version()
    published.decide(version, published.tasks[:3])
    database = published.bench.store.database
    database.write(lambda db: WEB_STARTED.set(db, 0.0))  # and no crash since
    published.bench.run("publish")
    answered, other = published.tasks[3:5]
    item = PredictionItem(answered, 0.7, RESULT)
    project = published.bench.project_id
    database.write(lambda db: save_predictions(db, project, version.id, [item], "answered"))
    published.decide(version, [answered, other], "refill")
    published.bench.run("publish")
    assert {p.task for p in published.held()} == {*published.tasks[:3], other}


def test_what_was_given_before_stays_on_record_as_it_was_given(published: Published) -> None:
    version, tasks = published.version(), published.tasks
    published.decide(version, tasks[:3])
    published.bench.run("publish")
    database, project = published.bench.store.database, published.bench.project_id
    given = NewPrediction(tasks[3], tuple(regions_from_json(RESULT)), 0.7, version.name)
    published.studio.import_predictions(published.info.id, [given])
    item = PredictionItem(tasks[3], 0.7, RESULT)
    database.write(lambda db: save_predictions(db, project, version.id, [item], "answered"))
    with database.read() as db:
        (before,) = suggestions_by_task(db, project)[tasks[3]]
    published.studio.delete_task(tasks[5])
    published.decide(version, tasks[3:7], "refresh")
    published.bench.run("publish")
    with database.read() as db:
        after = suggestions_by_task(db, project)
        scores = scores_of(db, project, version.id)
    assert after[tasks[3]] == [before], "the ledger tells by it what an annotator saw"
    assert scores[tasks[3]] == 0.7
    assert tasks[5] not in after, "nothing may stay that speaks of a deleted task"
    assert {tasks[4], tasks[6]} <= after.keys()


def test_a_version_that_was_superseded_half_way_has_one_prediction_a_task(
    published: Published,
) -> None:
    first, tasks = published.version(), published.tasks
    published.decide(first, tasks[:6])
    database = published.bench.store.database
    with database.read() as db:
        (pending,) = pending_publications(db, published.bench.project_id)
        chunk = next_chunk(db, pending.id)
    assert chunk is not None
    database.write(lambda db: begin_chunk(db, chunk))
    sent = [
        NewPrediction(i.task, tuple(regions_from_json(i.result)), i.score, first.name)
        for i in chunk.items
    ]
    published.studio.import_predictions(published.info.id, sent[:4])
    published.decide(published.version(), tasks[:2])
    published.bench.run("publish")
    published.decide(first, tasks[:6])  # a person promotes it
    published.bench.run("publish")
    assert published.shown == first.name
    counts = published.counts()
    assert {task: counts[task, first.name] for task in tasks[:6]} == dict.fromkeys(tasks[:6], 1)


def test_refreshing_waits_while_little_of_our_share_is_left(published: Published) -> None:
    version = published.version()
    published.decide(version, published.tasks[:3])
    published.bench.run("publish")
    published.decide(version, published.tasks[3:6], "refresh")
    database, project = published.bench.store.database, published.bench.project_id
    share = published.bench.store.settings.studio_share
    database.write(lambda db: draw(db, project, CAPACITY_SECONDS * share * 0.9, share))
    published.bench.run("publish")
    assert {p.task for p in published.held()} == set(published.tasks[:3])
    with database.read() as db:
        wanted = get_work(db, project, "publish")
        assert low_priority_time(db, project, share) == pytest.approx(wanted.not_before)
    database.write(lambda db: draw(db, project, -CAPACITY_SECONDS * share, share))
    published.bench.run("publish")
    assert {p.task for p in published.held()} == set(published.tasks[:6])


def test_old_predictions_go_a_day_later_but_none_that_an_annotation_needs(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPRENTICE_KEEP_VERSIONS_HOURS", "0")
    first = published.version(START)
    published.decide(first, published.tasks[:4])
    published.bench.run("publish")
    used = next(p for p in published.held() if p.task == published.tasks[0])
    record = AnnotationRecord(1, used.task, 1.0, 1.0, [], parent_prediction=used.id)
    published.bench.store.database.write(
        lambda db: save_annotations(db, published.bench.project_id, [record])
    )
    second = published.version()
    published.decide(second, published.tasks[1:3])
    published.bench.run("publish")
    published.bench.run("publish")
    old = {p.task for p in published.held() if p.model_version == first.name}
    assert old == {published.tasks[0], published.tasks[3]}, "needed; nothing newer stands there"


def test_an_empty_answer_is_replaced_by_the_real_one(published: Published) -> None:
    bench = published.bench
    bench.annotate({task: "cat" if i % 2 else "dog" for i, task in enumerate(published.tasks[:6])})
    bench.run("learn")
    bench.run("publish")
    version_name = published.shown
    late = published.tasks[-1]
    held = {p.task: p for p in published.held() if p.model_version == version_name}
    if late in held:
        published.studio.delete_prediction(held[late].id)
    empty = NewPrediction(late, (), 0.9, version_name)
    published.studio.import_predictions(published.info.id, [empty])
    bench.store.database.write(lambda db: add_pending_answers(db, bench.project_id, [late]))
    bench.run("publish")
    (now,) = [p for p in published.held() if p.task == late and p.model_version == version_name]
    assert now.score is not None
    assert now.score >= 0.5
    with bench.store.database.read() as db:
        assert tasks_with_pending_answer(db, bench.project_id) == set()


def test_a_version_that_is_published_again_has_one_prediction_a_task(published: Published) -> None:
    first, tasks = published.version(), published.tasks
    published.decide(first, tasks[:4])
    published.bench.run("publish")
    second = published.version()
    published.decide(second, tasks[:4])
    published.bench.run("publish")
    assert published.shown == second.name
    published.decide(first, tasks[:6])  # rolled back
    published.bench.run("publish")
    assert published.shown == first.name
    assert published.counts() == {(task, first.name): 1 for task in tasks[:6]} | {
        (task, second.name): 1 for task in tasks[:4]
    }
    with published.bench.store.database.read() as db:
        now = [get_version(db, version.id) for version in (first, second)]
    assert [version.status for version in now if version] == [SERVED, RETIRED]
