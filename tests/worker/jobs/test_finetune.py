"""finetune: from labels to a backbone that the gate has seen, through kills and cancelling."""

import threading
import time
from collections.abc import Callable

import pytest

from model.finetuning import Progress
from services.finetuning.finetune import MOST_LOSSES
from services.finetuning.policy import last_attempt
from services.finetuning.progress import ProgressWriter, message
from services.training.candidate import Candidate
from services.versions.training_requests import cancel
from store.projects.projects import change_project
from store.versions.finetuned_backbones import list_uncleared
from store.versions.versions import FINETUNE, REFUSED, list_versions
from store.work import pending_work
from store.work.jobs import add_job, end_job, get_job, list_jobs
from tests.support.workbench import Workbench
from tests.worker.jobs.test_learn import pretend_published
from tests.worker.jobs.test_moving import add, bench, tasks, wanted

__all__ = ["bench"]

pytestmark = pytest.mark.slow


@pytest.fixture
def labelled(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    """45 of the 60 images are labelled, and heads are served."""
    monkeypatch.setattr("model.finetuning.run.MOST_EPOCHS", 4)
    bench.annotate({task: name for task, name in bench.truth.items() if task <= 45})
    bench.run("learn")
    pretend_published(bench)
    return bench


def folder(bench: Workbench):
    return bench.store.settings.home / "finetune" / str(bench.project_id)


def test_a_fine_tuned_backbone_takes_over_when_it_is_no_worse(labelled: Workbench) -> None:
    labelled.run("finetune")
    project = labelled.project
    assert str(project.next_backbone).startswith("tuned:")
    assert wanted(labelled, "embed")
    assert not wanted(labelled, "finetune")
    assert not folder(labelled).exists()
    labelled.run("embed")
    labelled.run("learn")
    project = labelled.project
    assert project.embedding_space == f"{labelled_backbone(labelled)}@float32"
    assert project.base_backbone == "small:a"
    with labelled.store.database.read() as db:
        version = list_versions(db, labelled.project_id)[0]
        (tuned,) = list_uncleared(db, labelled.project_id)
    assert version.kind == FINETUNE
    assert tuned.training_tasks | tuned.validation_tasks == set(range(1, 46))
    assert version.metrics["accuracy"]["n"] == len(tuned.validation_tasks)
    assert version.metrics["finetune"]["method"]


def labelled_backbone(bench: Workbench) -> str:
    with bench.store.database.read() as db:
        return list_uncleared(db, bench.project_id)[-1].backbone


def test_labels_that_come_meanwhile_are_learned_on_top(labelled: Workbench) -> None:
    labelled.run("finetune")
    add(labelled, range(61, 70))
    labelled.annotate({task: labelled.truth[task] for task in range(46, 66)})
    labelled.run("embed")
    labelled.run("learn")
    with labelled.store.database.read() as db:
        version = list_versions(db, labelled.project_id)[0]
    assert (version.kind, version.labels) == (FINETUNE, 65)


def test_one_that_is_worse_is_refused_with_a_reason(
    labelled: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.evaluation.paired_tests.OVERALL_LEVEL", 1.1)  # nothing passes
    labelled.run("finetune")
    with labelled.store.database.read() as db:
        version = list_versions(db, labelled.project_id)[0]
        attempt = last_attempt(db, labelled.project_id)
    assert (version.kind, version.status) == (FINETUNE, REFUSED)
    assert version.verdict
    assert attempt is not None
    assert attempt.labels == 45
    assert labelled.project.next_backbone is None
    assert {task.embedded_space for task in tasks(labelled).values()} == {"small:a@float32"}


def test_labels_that_teach_nothing_are_a_reason_not_a_loop(bench: Workbench) -> None:
    bench.annotate(bench.tasks_of("cat", 10))
    bench.run("finetune")
    assert not wanted(bench, "finetune")
    with bench.store.database.read() as db:
        job = next(job for job in list_jobs(db, bench.project_id) if job.kind == "finetune")
    assert job.state == "failed"
    assert "two" in str(job.error) or "second" in str(job.error)
    with bench.store.database.read() as db:
        wish = pending_work.get_work(db, bench.project_id, "finetune")
    assert wish is not None
    assert (wish.failures, wish.error) == (0, None), "the next wish begins without them"


def cancel_in_training(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancel the job as a person does, once it trains."""
    cancelled = threading.Event()
    show = ProgressWriter.show

    def watched(self, progress: Progress) -> None:
        show(self, progress)
        if progress.phase == "training" and not cancelled.is_set():
            cancelled.set()
            bench.store.database.write(lambda db: cancel(db, bench.project_id))

    monkeypatch.setattr(ProgressWriter, "show", watched)


def test_cancelling_ends_it_and_leaves_nothing(
    labelled: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel_in_training(labelled, monkeypatch)
    labelled.run("finetune")
    with labelled.store.database.read() as db:
        wish = pending_work.get_work(db, labelled.project_id, "finetune")
        job = get_job(db, f"finetune-{labelled.project_id}-g{wish.enqueued if wish else 0}")
    assert job is not None
    assert job.state == "cancelled"
    assert wish is not None
    assert wish.wanted == wish.done
    assert not folder(labelled).exists()
    assert labelled.project.next_backbone is None


def meanwhile(bench: Workbench, monkeypatch: pytest.MonkeyPatch, what: Callable[[], None]) -> None:
    """Have something happen after the gate has compared, and before its verdict is written."""
    keep = Candidate.keep

    def watched(self, *args, **more):
        what()
        return keep(self, *args, **more)

    monkeypatch.setattr(Candidate, "keep", watched)


def test_what_a_person_decides_while_it_is_tried_out_goes_before(
    labelled: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hold() -> None:
        labelled.store.database.write(
            lambda db: change_project(db, labelled.project_id, held_at=time.time())
        )

    meanwhile(labelled, monkeypatch, hold)
    labelled.run("finetune")
    assert labelled.project.next_backbone is None
    assert not wanted(labelled, "finetune")
    with labelled.store.database.read() as db:
        attempt = last_attempt(db, labelled.project_id)
    assert attempt is not None
    assert "pinned" in attempt.outcome


def test_a_move_that_a_person_gave_up_is_not_ended_by_learning(
    labelled: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled.run("finetune")
    labelled.run("embed")
    before = labelled.project.embedding_space

    def stop() -> None:
        labelled.store.database.write(lambda db: cancel(db, labelled.project_id))

    meanwhile(labelled, monkeypatch, stop)
    labelled.run("learn")
    assert labelled.project.embedding_space == before
    assert wanted(labelled, "learn"), "it begins anew"
    labelled.run("learn")
    assert labelled.project.embedding_space == before


def test_a_job_whose_place_was_taken_leaves_what_the_other_goes_on_with(
    labelled: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    show = ProgressWriter.show

    def watched(self, progress: Progress) -> None:
        show(self, progress)
        if progress.phase == "training":
            labelled.store.database.write(
                lambda db: pending_work.revoke(db, labelled.project_id, "finetune")
            )

    monkeypatch.setattr(ProgressWriter, "show", watched)
    labelled.run("finetune")
    assert (folder(labelled) / "plan.json").exists()
    assert wanted(labelled, "finetune")


def test_one_whose_process_is_ended_time_and_again_is_given_up(labelled: Workbench) -> None:
    def lose(db):
        pending_work.want(db, labelled.project_id, "finetune")
        for generation in range(101, 101 + MOST_LOSSES):
            end_job(db, add_job(db, labelled.project_id, "finetune", generation), state="lost")

    labelled.store.database.write(lose)
    labelled.run("finetune")
    assert not wanted(labelled, "finetune")
    with labelled.store.database.read() as db:
        attempt = last_attempt(db, labelled.project_id)
    assert attempt is not None
    assert attempt.labels == 45
    assert "memory" in attempt.outcome


def test_a_job_that_was_cancelled_before_it_began_does_nothing(labelled: Workbench) -> None:
    from worker.jobs import finetune

    def prepare(db):
        pending_work.want(db, labelled.project_id, "finetune")
        item = pending_work.get_work(db, labelled.project_id, "finetune")
        assert item is not None
        generation = pending_work.next_generation(db, item)
        cancel(db, labelled.project_id)
        return generation

    generation = labelled.store.database.write(prepare)
    with pytest.raises(pending_work.LeaseLostError):
        finetune.run(labelled.project_id, generation)
    with labelled.store.database.read() as db:
        assert list_uncleared(db, labelled.project_id) == []


def test_progress_says_loss_speed_and_time_left() -> None:
    progress = Progress(120, 500, 0.4123, 85.2, 250.0, "training")
    assert message(progress) == ("training: step 120 of 500, loss 0.412, 85 images/s, 4 min left")
