"""Predictions that lack a guest model's part are completed in place when it is back."""

from collections.abc import Iterator

import pytest

from store.predictions.pending_answers import tasks_with_pending_answer
from store.work.pending_work import get_work
from store.work.work_kind import WorkKind
from tests.support.guests import RECTANGLES, guests_running, set_mood, until_ready
from tests.support.predictions_studio import PredictionsStudio, predictions_studio
from tests.support.workbench import Workbench

BOX = '<RectangleLabels name="box" toName="image"><Label value="thing"/></RectangleLabels>'
KIND = '<Choices name="kind" toName="image"><Choice value="cat"/><Choice value="dog"/></Choices>'


@pytest.fixture
def bench(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workbench]:
    monkeypatch.setenv("APPRENTICE_GUESTS", f"{RECTANGLES}@box")
    monkeypatch.setenv("APPRENTICE_MIN_CONFIDENCE", "0")
    workbench.store.settings.guests = f"{RECTANGLES}@box"
    workbench.configure(KIND + BOX)
    with guests_running(workbench.store) as server:
        until_ready(server)
        yield workbench


@pytest.fixture
def studio(bench: Workbench) -> Iterator[PredictionsStudio]:
    with predictions_studio(bench.store) as scripted:
        yield scripted


def controls(prediction: dict) -> list[str]:
    return sorted(region["from_name"] for region in prediction["result"])


def pending(bench: Workbench) -> set[int]:
    with bench.store.database.read() as db:
        return tasks_with_pending_answer(db, bench.project_id)


def test_what_was_pushed_without_a_guest_is_completed_in_place(
    bench: Workbench, studio: PredictionsStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_mood(bench.store, "raise")
    bench.run("predict")  # its model is loaded, and it answers nothing
    bench.annotate(bench.tasks_of("cat", 6) | bench.tasks_of("dog", 6))
    bench.run("learn")
    with monkeypatch.context() as patience:
        patience.setenv("APPRENTICE_GUEST_SECONDS", "0.001")
        while bench.project.served_version_id is None:
            bench.run("publish")
    before = {key: dict(each) for key, each in studio.predictions.items()}
    assert before
    assert {tuple(controls(each)) for each in before.values()} == {("kind",)}
    assert pending(bench) == {each["task"] for each in before.values()}

    bench.run("publish")  # nothing new: nothing is sent
    assert studio.predictions == before
    set_mood(bench.store, "")
    bench.run("predict")
    with bench.store.database.read() as db:
        work = get_work(db, bench.project_id, WorkKind.PUBLISH)
    assert work is not None
    assert work.wanted > work.done
    bench.run("publish")
    after = studio.predictions
    assert after.keys() == before.keys(), "an annotator may have it open"
    assert {tuple(controls(each)) for each in after.values()} == {("box", "kind")}
    assert all(after[key]["score"] == before[key]["score"] for key in before)
    assert all(after[key]["model_version"] == before[key]["model_version"] for key in before)
    assert not pending(bench)
    done = studio.changes()
    bench.run("publish")
    assert studio.changes() == done
