"""rollback and promote: what a person chooses is served, stays, and is given up by a promotion."""

import numpy as np
import pytest

from services.snapshot import take_snapshot
from services.versions.rollback import VersionError, promote, rollback
from store.predictions.publications import (
    begin_chunk,
    end_chunk,
    end_publication,
    next_chunk,
    pending_publications,
    predicted_tasks,
    save_predictions,
    scores_of,
)
from store.projects.projects import change_project, serve
from store.versions.versions import (
    CANDIDATE,
    REFUSED,
    RETIRED,
    SERVED,
    Version,
    find_version,
    get_version,
    list_versions,
    mark_served,
)
from tests.support.workbench import CLASSES, SPACE, Workbench


def versions(bench: Workbench) -> dict[str, Version]:
    with bench.store.database.read() as db:
        return {version.name: version for version in list_versions(db, bench.project_id)}


def publish(bench: Workbench) -> None:
    """What the publish job does when Label Studio has taken everything."""

    def write(db):
        for publication in pending_publications(db, bench.project_id):
            version = get_version(db, publication.version_id)
            chunk = next_chunk(db, publication.id)
            items = chunk.items if chunk else ()
            save_predictions(db, bench.project_id, version.id, items, "pushed")
            end_publication(db, publication.id)
            if publication.reason == "version":
                serve(db, bench.project_id, version.id, publication.id)
                mark_served(db, version)

    bench.store.database.write(write)


def learn(bench: Workbench, each: int) -> None:
    for name in CLASSES:
        bench.annotate(bench.tasks_of(name, each))
    bench.run("learn")
    publish(bench)


@pytest.fixture
def three(workbench: Workbench) -> Workbench:
    """Three versions, the third of which is served."""
    for each in (4, 8, 12):
        learn(workbench, each)
    assert served(workbench) == "apprentice v3"
    return workbench


def served(bench: Workbench) -> str:
    with bench.store.database.read() as db:
        version = get_version(db, bench.project.served_version_id or 0)
    assert version is not None
    return version.name


def test_a_rollback_republishes_the_version_before(three: Workbench) -> None:
    assert rollback(three.store, three.project).name == "apprentice v2"
    with three.store.database.read() as db:
        pending = pending_publications(db, three.project_id)
        v2 = find_version(db, three.project_id, 2)
        chunk = next_chunk(db, pending[0].id)
    assert v2 is not None
    assert {publication.version_id for publication in pending} == {v2.id}
    assert chunk is not None
    right = [
        item.result[0]["value"]["choices"] == [three.truth[item.task]]
        for item in chunk.items
        if item.result
    ]
    assert len(right) > 10
    assert np.mean(right) > 0.8
    publish(three)
    assert served(three) == "apprentice v2"
    found = versions(three)
    assert found["apprentice v2"].status == SERVED
    assert found["apprentice v3"].status == RETIRED
    assert found["apprentice v3"].superseded_at is not None


def test_a_rollback_holds_until_a_promotion(three: Workbench) -> None:
    rollback(three.store, three.project, "v1")
    publish(three)
    learn(three, 16)
    assert served(three) == "apprentice v1"
    waiting = versions(three)["apprentice v4"]
    assert waiting.status == CANDIDATE
    assert "promote" in waiting.verdict
    assert promote(three.store, three.project).name == "apprentice v4"
    publish(three)
    assert served(three) == "apprentice v4"
    learn(three, 20)
    assert served(three) == "apprentice v5"


def test_a_refused_version_can_be_promoted(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.training.holdout.HOLDOUT_FROM", 140)
    monkeypatch.setattr("services.training.holdout.HOLDOUT_LEAST", 30)
    workbench.run("learn")
    publish(workbench)
    learn(workbench, 50)
    truths = {task: name for name in CLASSES for task in list(workbench.tasks_of(name, 50))[:15]}
    workbench.annotate(truths, at=2.0, ground_truth=True)
    workbench.run("learn")
    publish(workbench)
    before = served(workbench)
    other = dict(zip(CLASSES, ("dog", "fox", "cat"), strict=True))
    rest = {task for name in CLASSES for task in workbench.tasks_of(name, 50)} - truths.keys()
    workbench.annotate({task: other[workbench.truth[task]] for task in rest}, at=3.0)
    workbench.run("learn")
    publish(workbench)
    (refused,) = [v for v in versions(workbench).values() if v.status == REFUSED]
    assert served(workbench) == before
    promote(workbench.store, workbench.project, refused.name)
    publish(workbench)
    assert served(workbench) == refused.name


def test_what_cannot_be_served_says_why(workbench: Workbench) -> None:
    with pytest.raises(VersionError, match="nothing is served"):
        rollback(workbench.store, workbench.project)
    workbench.run("learn")
    publish(workbench)
    with pytest.raises(VersionError, match="only an order"):
        promote(workbench.store, workbench.project)
    learn(workbench, 4)
    with pytest.raises(VersionError, match="no version was served before"):
        rollback(workbench.store, workbench.project)
    with pytest.raises(VersionError, match="no version 'v9'"):
        promote(workbench.store, workbench.project, "v9")
    learn(workbench, 8)
    rollback(workbench.store, workbench.project)
    publish(workbench)
    with pytest.raises(VersionError, match="is newer"):
        rollback(workbench.store, workbench.project, "v2")


def test_a_rollback_to_another_backbone_takes_its_embeddings_back(three: Workbench) -> None:
    """As after a fine-tuning: the version before was learned in another space."""
    bench = three
    other = "test:other@float32"
    tasks = list(bench.truth)[:200]
    vectors = bench.store.embeddings.get(SPACE, [f"image{task}" for task in tasks])
    bench.store.embeddings.put(other, vectors)

    def move(db):
        change_project(db, bench.project_id, embedding_space=other)

    bench.store.database.write(move)
    rollback(bench.store, bench.project, "v2")
    assert bench.project.embedding_space == SPACE
    publish(bench)
    bench.store.embeddings.put("gone", {})
    found = versions(bench)["apprentice v3"]
    assert found.embedding_space == SPACE


def test_a_candidate_learned_during_the_rollback_waits_too(three: Workbench) -> None:
    for name in CLASSES:
        three.annotate(three.tasks_of(name, 16))
    rollback(three.store, three.project)
    three.run("learn")
    publish(three)
    assert served(three) == "apprentice v2"


def publish_without_replacing(bench: Workbench) -> None:
    """As publishing does: a prediction that Label Studio holds is never replaced."""

    def write(db):
        for publication in pending_publications(db, bench.project_id):
            version = get_version(db, publication.version_id)
            given = predicted_tasks(db, bench.project_id, version.id)
            while (chunk := next_chunk(db, publication.id)) is not None:
                begin_chunk(db, chunk)
                new = [item for item in chunk.items if item.task not in given]
                end_chunk(db, publication, chunk, 0.0, sent=new)
            end_publication(db, publication.id)
            if publication.reason == "version":
                serve(db, bench.project_id, version.id, publication.id)
                mark_served(db, version)

    bench.store.database.write(write)


def test_after_a_rollback_tasks_are_handed_out_in_the_order_of_one_list(
    workbench: Workbench,
) -> None:
    """Predictions of the version's own time stay where they are in Label Studio."""
    bench = workbench
    for each in (4, 8, 12):
        for name in CLASSES:
            bench.annotate(bench.tasks_of(name, each))
        bench.run("learn")
        publish_without_replacing(bench)

    def listed() -> list[int]:
        now = take_snapshot(bench.store, bench.project_id)
        return [task for task in now.remaining if task not in now.annotated]

    def handed_out(version: Version) -> list[int]:
        with bench.store.database.read() as db:
            scores = scores_of(db, bench.project_id, version.id)
        annotated = take_snapshot(bench.store, bench.project_id).annotated
        first = [t for t, score in scores.items() if score < 0.5 and t not in annotated]
        return sorted(first, key=scores.__getitem__)

    newest = listed()
    v1 = versions(bench)["apprentice v1"]
    old = handed_out(v1)
    assert set(old) - set(newest)
    assert set(newest) - set(old)
    rollback(bench.store, bench.project, "v1")
    publish_without_replacing(bench)
    assert handed_out(v1) == listed()
    assert listed()[: len(old)] == old
    assert set(newest) - set(old) <= set(listed())
    for _ in range(2):
        tasks = listed()[:30]
        bench.annotate({task: bench.truth[task] for task in tasks}, was_cancelled=True)
        bench.run("learn")
        publish_without_replacing(bench)
        assert len(listed()) > 30
        assert handed_out(v1) == listed()
