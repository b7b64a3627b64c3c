"""Fine-tunes a project's backbone on all labels, and lets the gate compare it. Takes minutes.

Its training set is fixed when it begins and kept in a folder, so that a run that was killed
goes on where it was. Labels that come meanwhile are not lost: heads are fitted on them, in the
space in use all along, and in the new one as soon as the project has moved there.
"""

import math
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection

from model.finetuning import Cancelled, CannotFinetuneError, Finetuned, Options, finetune
from services.connections.clients import image_loader
from services.embedding.backbones import backbone_folder, open_backbone, store_finetuned
from services.errors import GivenUpError, JobError
from services.finetuning.plan import FinetuningPlan, make_plan
from services.finetuning.policy import Attempt, save_attempt
from services.finetuning.progress import ProgressWriter
from services.finetuning.retrying_loader import RetryingLoader
from services.finetuning.trial import embed_labelled, evaluate_backbone
from services.job_context import JobContext
from services.snapshot import take_snapshot
from services.training.candidate import Candidate
from services.training.finetuned_features import labelled_set
from store.projects.embedding_spaces import base_backbone, begin_move
from store.projects.projects import get_project
from store.versions.finetuned_backbones import add_tuned
from store.work import pending_work
from store.work.jobs import CANCELLED, FAILED, count_lost, end_job, get_job
from store.work.work_kind import WorkKind

log = structlog.get_logger()

SEED = 0  # same labels, same weights (on a CPU)
ATTEMPTS = 3  # of a run that ends by a fault of ours
MOST_LOSSES = 6  # of its process, mostly for want of memory; each goes on where the last one was


class Finetuning:
    """One fine-tuning run of a project. Its plan and checkpoints are kept in `folder`."""

    def __init__(self, context: JobContext, folder: Path) -> None:
        self.context = context
        self.store = context.store
        self.database = context.store.database
        self.project = context.project
        self.folder = folder
        self.labels = 0

    def run(self, cancelled: Callable[[], bool]) -> None:
        """Fine-tune on today's labels, or resume a killed run.

        Args:
            cancelled: whether the run is to stop.

        Raises:
            GivenUpError: nothing is gained by trying again with these labels.
            JobError: images can't be read now.
            LeaseLostError: it was cancelled.
        """
        try:
            plan = self._plan()
            self.labels = plan.labels
            self._require_survival()
            tuned = self._tune(plan, cancelled)
            self._try_out(plan, tuned)
            self.clear()
        except CannotFinetuneError as error:
            self._give_up(str(error))
        except pending_work.LeaseLostError:
            self.clear_if_cancelled()
            raise
        except JobError:
            raise
        except Exception as error:
            if self._failures() + 1 >= ATTEMPTS:
                self._give_up(f"{type(error).__name__}: {error}")
            raise

    def clear(self) -> None:
        """Delete the plan and the checkpoints."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def clear_if_cancelled(self) -> None:
        """Delete them if the run was cancelled; a newer job resumes any other."""
        with self.database.read() as db:
            job = get_job(db, self.context.job_id)
        if job is not None and job.state == CANCELLED:
            self.clear()

    def _require_survival(self) -> None:
        """Raise CannotFinetuneError when the process was killed too often."""
        with self.database.read() as db:
            work = pending_work.get_work(db, self.project.id, WorkKind.FINETUNE)
            losses = count_lost(
                db, self.project.id, WorkKind.FINETUNE, after=work.done if work else 0
            )
        if losses >= MOST_LOSSES:
            raise CannotFinetuneError(
                f"its process was ended {losses} times, mostly a sign of too little memory"
            )

    # What to learn from

    def _plan(self) -> FinetuningPlan:
        with self.database.read() as db:
            work = pending_work.get_work(db, self.project.id, WorkKind.FINETUNE)
        assert work is not None, "a job was enqueued for it"
        plan = FinetuningPlan.load(self.folder)
        backbone = base_backbone(self.project)
        if plan is not None and (plan.asked_at, plan.backbone) == (work.wanted_at, backbone):
            log.info("fine-tuning resumed", labels=plan.labels)
            return plan
        self.clear()
        if backbone is None:
            raise CannotFinetuneError("no image was read yet: nothing can be learned")
        self._require_unchanged(backbone)
        with self.context.step("read"):
            snapshot = take_snapshot(self.store, self.project.id)
            data, _ = labelled_set(self.store, snapshot)
            if snapshot.config.reason is not None:
                raise CannotFinetuneError(snapshot.config.reason)
            if not len(data.tasks):
                raise CannotFinetuneError("no image with a label was read yet")
            plan = make_plan(
                data,
                {image.unit: image for image in snapshot.images},
                snapshot.config,
                backbone=backbone,
                asked_at=work.wanted_at,
                seed=SEED,
            )
        plan.save(self.folder)
        return plan

    def _require_unchanged(self, backbone: str) -> None:
        with self.database.read() as db:
            _require_unchanged(db, self.project.id, backbone)

    # Tuning

    def _tune(self, plan: FinetuningPlan, cancelled: Callable[[], bool]) -> Finetuned:
        settings = self.store.settings
        loader = image_loader(self.store, self.project.connection_id)
        retrying = RetryingLoader(loader, len(plan.items))
        engine = self.folder / "engine"
        try:
            with self.context.step("tune"):
                return finetune(
                    plan.backbone,
                    plan.items,
                    retrying.load,
                    plan.targets,
                    plan.validation,
                    options=Options(
                        augment=settings.augment,
                        device=settings.device,
                        precision=settings.precision,
                        seed=SEED,
                    ),
                    folder=engine,
                    report=ProgressWriter(self.context).show,
                    stop=lambda: cancelled() or retrying.outage is not None,
                    backbones=backbone_folder(settings),
                )
        except Cancelled:
            if retrying.outage is not None and not cancelled():
                shutil.rmtree(engine, ignore_errors=True)  # it gave up images that will come back
                raise JobError(f"images can't be read now: {retrying.outage}") from None
            raise pending_work.LeaseLostError("the fine-tuning was cancelled") from None
        finally:
            loader.close()

    # Trying out

    def _try_out(self, plan: FinetuningPlan, tuned: Finetuned) -> None:
        """Embed the labelled images with the tuned backbone, and let the gate compare it."""
        self.context.check()
        self._require_unchanged(plan.backbone)
        self.context.progress(0.9, "embedding the labelled images with the tuned backbone")
        backbone = store_finetuned(self.store, tuned.path)
        embedder = open_backbone(self.store, backbone)
        try:
            with self.context.step("embed"):
                embed_labelled(self.context, embedder)
            space = embedder.key
        finally:
            embedder.close()
        with self.context.step("gate"):
            snapshot = take_snapshot(self.store, self.project.id)
            report = self._report(plan, tuned)
            candidate = evaluate_backbone(self.store, snapshot, plan, space, report, seed=SEED)
            artifact = candidate.keep(self.store, snapshot.config, seed=SEED)
        self._decide(plan, tuned, backbone, candidate, artifact)

    def _report(self, plan: FinetuningPlan, tuned: Finetuned) -> dict[str, Any]:
        """The method and the history of the tuning, as plain JSON."""
        return {
            "method": tuned.method,
            "history": [_plain(asdict(step)) for step in tuned.history],
            "unreadable": [plan.items[row].task for row in tuned.unreadable],
        }

    def _decide(
        self,
        plan: FinetuningPlan,
        tuned: Finetuned,
        backbone: str,
        candidate: Candidate,
        artifact: str,
    ) -> None:
        project_id, verdict = self.project.id, candidate.verdict

        def write(db: Connection) -> None:
            pending_work.check(db, self.context.lease)
            if verdict.accepted:  # what a person decided meanwhile goes before
                _require_unchanged(db, project_id, plan.backbone)
            save_attempt(db, project_id, Attempt(plan.labels, plan.backbone, verdict.reason))
            add_tuned(
                db,
                project_id,
                digest=tuned.digest,
                base_backbone=plan.backbone,
                labels=plan.labels,
                training_tasks=plan.training_tasks,
                validation_tasks=plan.validation_tasks,
                report=candidate.finetune or {},
            )
            if verdict.accepted:
                begin_move(db, project_id, backbone, candidate.data.space)
                pending_work.want(db, project_id, WorkKind.EMBED)
            else:
                candidate.add(db, project_id, artifact)
            pending_work.finish(db, self.context.lease)

        self.database.write(write)
        self.context.progress(
            1.0,
            "better: all images are embedded anew now"
            if verdict.accepted
            else f"refused: {verdict.reason}",
        )

    # Ending otherwise

    def _give_up(self, reason: str) -> None:
        """End the run for good: with these labels another try would fail too."""
        self.clear()
        log.warning("fine-tuning given up", reason=reason)
        backbone = base_backbone(self.project) or ""

        def write(db: Connection) -> None:
            save_attempt(db, self.project.id, Attempt(self.labels, backbone, reason))
            pending_work.finish(db, self.context.lease)
            # At once: who waits for the work to be done would take it for a success.
            end_job(db, self.context.job_id, state=FAILED, error=reason)

        self.database.write(write)
        raise GivenUpError(reason)

    def _failures(self) -> int:
        with self.database.read() as db:
            work = pending_work.get_work(db, self.project.id, WorkKind.FINETUNE)
        return work.failures if work else 0


def _require_unchanged(db: Connection, project_id: int, backbone: str) -> None:
    """Raise CannotFinetuneError if a person has pinned a version or changed the backbone."""
    project = get_project(db, project_id)
    assert project is not None, "projects are never forgotten"
    if project.held_at is not None:
        raise CannotFinetuneError(
            "a version is pinned since a rollback: `apprentice promote` lets newer ones follow"
        )
    if project.next_backbone is not None or base_backbone(project) != backbone:
        raise CannotFinetuneError("the project moves to another backbone: try again later")


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Replace infinite and NaN numbers by None, since JSON has none."""
    return {
        name: value if not isinstance(value, float) or math.isfinite(value) else None
        for name, value in values.items()
    }
