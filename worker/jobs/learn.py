"""learn: fit the heads on what is embedded, evaluate, gate, choose the shortlist. No torch.

What it decides is written in one transaction; the publish job carries it to Label Studio.
"""

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum

import structlog
from sqlalchemy import Connection

from model.evaluation.paired_tests import Verdict
from model.registry import UnknownNameError
from services.finetuning.policy import wish_where_it_may_pay
from services.job_context import JobContext
from services.labels.labelled_tasks import mark_labelled_tasks
from services.publishing.outdated import (
    hardest_control,
    next_place,
    outdated,
    pool_has_grown,
    start_version,
)
from services.reports.active_learning import advise
from services.reports.label_review import review
from services.reports.ledger_summary import keep_summary, new_summary
from services.selection.shortlist import OpenList, choose_next, strategy_of
from services.snapshot import Snapshot, take_snapshot
from services.suggestions.auto_accept import accept
from services.suggestions.prediction_items import rest_items, shortlist_items
from services.suggestions.predictor import Predictor, Suggestion
from services.suggestions.suggest import suggest
from services.training.candidate import Candidate
from services.training.finetuned_features import labelled_set, measurable, unseen_only
from services.training.gate import judge_anywhere
from services.training.train import Trained, train
from services.training.training_set import TrainingSet, extend_holdout
from store.files.artifacts import ArtifactError
from store.predictions.publication_reason import PublicationReason
from store.predictions.publications import PredictionItem, add_publication, predicted_tasks
from store.predictions.shortlists import Choice, set_shortlist
from store.projects.embedding_spaces import (
    cancel_move,
    finish_move,
    is_tuned,
    move_is_ready,
    move_is_still_wanted,
)
from store.projects.projects import change_project, is_held
from store.tasks.tasks import assign_holdout
from store.tasks.units import TaskId, task_of
from store.versions.finetuned_backbones import Tuned
from store.versions.label_reviews import save_review
from store.versions.versions import START, Version, change_version
from store.work import pending_work
from store.work.work_kind import WorkKind
from worker.jobs.runner import running

log = structlog.get_logger()

SEED = 0  # same labels, same version
WAITS = "it waits for `apprentice promote`, since a person chose what is served"


def preload() -> None:
    """Import in the worker what its children would import each time."""
    import scipy.linalg  # noqa: F401


def run(project_id: int, generation: int) -> None:
    """Learn from today's labels, or refill the shortlist when they are the same as before."""
    with running(WorkKind.LEARN, project_id, generation) as context:
        mark_labelled_tasks(context.store, project_id)
        learning = _Learning(context)
        learning.run()
        with context.step("accept"):
            accept(context.store, learning.now)


class Move(StrEnum):
    """What becomes of the project's move to another backbone's space."""

    NONE = "none"
    FINISH = "finish"
    CANCEL = "cancel"  # the fine-tuned backbone is refused


class _Learning:
    def __init__(self, context: JobContext) -> None:
        self.context = context
        self.store = context.store
        self.settings = context.store.settings
        with context.step("read"):
            self.now: Snapshot = take_snapshot(context.store, context.project.id)
        self.before = self.now
        self.move = Move.NONE
        _, self.complaint = strategy_of(self.settings)
        self.trained: Trained | None = None

    def run(self) -> None:
        self._look_ahead()
        now = self.now
        if now.config.reason is not None or not now.space:
            self._write(reason=now.config.reason)
            return
        with self.context.step("read"):
            labelled, tuned = labelled_set(self.store, now)
            data = measurable(self.store, self._hold_out(labelled, tuned), tuned)
        digest = data.digest(now.config)
        if digest in {known.labels_digest for known in (now.newest, now.served) if known}:
            self._refill()
            return
        served = self._load(now.served)
        try:
            with self.context.step("fit"):
                trained = self._train(data, served)
        except UnknownNameError as error:
            self._refill(reason=f"APPRENTICE_HEAD: {error}")
            return
        if not trained.results:
            self._refill(reason="; ".join(trained.untrained.values()))
            return
        self.trained = trained
        with self.context.step("gate"):
            verdict = self._heed(judge_anywhere(self.store, trained, data, served, now.served))
        log.info(
            "trained",
            labels=len(data.tasks),
            accuracy=round(trained.accuracy.value, 4),
            accepted=verdict.accepted,
            verdict=verdict.reason,
        )
        report = tuned.report if tuned is not None and self.move is Move.FINISH else None
        reviewed = review(trained.results, now.read_at)
        candidate = Candidate(trained, data, digest, verdict, reviewed, report)
        if verdict.accepted and now.project.held_at is None:
            self._publish(candidate)
        else:
            if self.move is Move.FINISH:
                self.now, self.move = self.before, Move.CANCEL
            self._refill(unpublished=candidate)
        if self.move is not Move.CANCEL:
            with self.context.step("advise"):
                advise(self.store, now, candidate, served)

    def _look_ahead(self) -> None:
        """Take the project as it is after its move, if that can end now."""
        project = self.now.project
        with self.store.database.read() as db:
            ready = project.held_at is None and move_is_ready(db, project)
        if ready and project.next_space is not None:
            self.now, self.move = self.now.moved(project.next_space), Move.FINISH

    def _heed(self, verdict: Verdict) -> Verdict:
        """What people have decided goes before what the gate says."""
        project = self.now.project
        if verdict.accepted and project.held_at is not None:
            return Verdict(True, f"{verdict.reason}; {WAITS}")
        following = project.next_backbone or ""
        if self.move is Move.FINISH and not is_tuned(following):
            return Verdict(True, f"the backbone was changed to {following}; {verdict.reason}")
        return verdict

    def _train(self, data: TrainingSet, served: Predictor | None) -> Trained:
        newest, head = self.now.newest, self.settings.head
        earlier = newest if newest and newest.embedding_space == data.space else None
        return train(
            data,
            self.now.config,
            seed=SEED,
            served=served if served and served.space == data.space else None,
            earlier=earlier.metrics if earlier else None,
            kinds=None if head == "auto" else (head,),
        )

    def _hold_out(self, data: TrainingSet, tuned: Tuned | None) -> TrainingSet:
        more = extend_holdout(data, unseen_only(self.now.unbiased, tuned), seed=SEED)
        if more:
            project_id = self.now.project.id
            self.store.database.write(
                lambda db: assign_holdout(db, project_id, {*map(task_of, more)})
            )
        return replace(data, holdout=data.holdout | more)

    def _load(self, version: Version | None) -> Predictor | None:
        if version is None:
            return None
        try:
            return Predictor.load(self.store, version)
        except ArtifactError as error:
            log.warning("the served version can't be read; going on without it", error=str(error))
            return None

    def _suggest(self, predictor: Predictor, tasks: set[TaskId]) -> dict[TaskId, Suggestion]:
        listed = [task for task in self.now.tasks if task.ls_id in tasks]
        return suggest(self.store, self.now.project, listed, predictor, self.now.config)

    def _publish(self, candidate: Candidate) -> None:
        now, trained = self.now, candidate.trained
        predictor = trained.predictor(now.space)
        artifact = self._keep(candidate)
        choices = choose_next(self.context, now, predictor, trained.hardest, seed=SEED)
        chosen = {choice.task for choice in choices}
        left = [task for task in now.remaining if task not in chosen]
        with self.store.database.read() as db:
            listed = outdated(db, now, trained)
        old = [task for task in listed if task not in chosen | set(left)]
        answers = self._suggest(predictor, {*chosen, *left, *old})
        items = shortlist_items(choices, answers) + rest_items(left, answers)
        refresh = rest_items(old, answers)

        def write(db: Connection) -> None:
            version = self._add(db, candidate, artifact)
            if is_held(db, version.project_id):
                return  # a person chose meanwhile what is served
            add_publication(db, version.project_id, version.id, PublicationReason.VERSION, items)
            if refresh:
                add_publication(
                    db, version.project_id, version.id, PublicationReason.REFRESH, refresh
                )
            set_shortlist(db, version.project_id, version.id, choices)

        self._write(write)

    def _keep(self, candidate: Candidate) -> str:
        """Store its heads, published or not: a person may promote it. Returns the digest."""
        return candidate.keep(self.store, self.now.config, seed=SEED)

    def _add(self, db: Connection, candidate: Candidate, artifact: str) -> Version:
        if self.move is not Move.CANCEL:  # what a refused backbone sees says less of labels
            save_review(db, self.now.project.id, candidate.review)
        return candidate.add(db, self.now.project.id, artifact)

    def _refill(self, *, reason: str | None = None, unpublished: Candidate | None = None) -> None:
        """Fill the shortlist up under the version that is served, or under the start version.

        A prediction that stands is never replaced: somebody may have the task open.
        """
        now = self.now
        served = now.served
        if served is None and now.newest is not None and not unpublished:
            self._write(reason=reason)  # its publication is under way
            return
        predictor = self._load(served)
        if predictor is None or not predictor.heads:
            predictor = Predictor({}, now.space)
        half_left = len(now.remaining) >= max(len(now.shortlist), 1) / 2
        enough = half_left and not pool_has_grown(now)
        kept = now.kept()
        choices: list[Choice] = []
        items: list[PredictionItem] = []
        known = len(now.open)
        if unpublished or not enough:
            with self.store.database.read() as db:
                shown = predicted_tasks(db, now.project.id, served.id) if served else set()
                first = next_place(db, now)
            hardest = hardest_control(served) if served else None
            before = OpenList(now.remaining, shown, only_missing=enough)
            choices = choose_next(self.context, now, predictor, hardest, before, seed=SEED)
            # What never got there under this version is pushed with the others.
            new = [choice for choice in kept if choice.task not in shown] + choices
            answers = self._suggest(predictor, {choice.task for choice in new})
            items = shortlist_items(new, answers, first=first)
        artifact = self._keep(unpublished) if unpublished else ""

        def write(db: Connection) -> None:
            if unpublished:
                self._add(db, unpublished, artifact)
            if not items:
                return
            version = served or start_version(db, now.project.id, now.space)
            if version.kind == START:
                change_version(db, version.id, metrics={"pool": known})
            why = PublicationReason.REFILL if served else PublicationReason.VERSION
            add_publication(db, version.project_id, version.id, why, items)
            set_shortlist(db, version.project_id, version.id, kept + choices)

        self._write(write, reason=reason)

    def _write(
        self, write: Callable[[Connection], None] | None = None, *, reason: str | None = None
    ) -> None:
        project_id = self.now.project.id
        reasons = "; ".join(filter(None, (self.complaint, reason)))
        with self.context.step("ledger"), self.store.database.read() as db:
            ledger = new_summary(db, self.now.project, self.now.annotations)

        def commit(db: Connection) -> None:
            pending_work.check(db, self.context.lease)
            if self.move is not Move.NONE and not move_is_still_wanted(db, self.before.project):
                raise pending_work.LeaseLostError("a person has decided anew about the backbone")
            if ledger is not None:
                keep_summary(db, project_id, ledger)
            if write is not None:
                write(db)
                # Learning itself has waited until our share of Label Studio's time allows it.
                pending_work.want(db, project_id, WorkKind.PUBLISH, not_before=0.0)
            change_project(db, project_id, reason=reasons or None)
            if self.move is Move.FINISH:
                finish_move(db, self.now.project)
                pending_work.want(db, project_id, WorkKind.EMBED)  # what the new space lacks
            elif self.move is Move.CANCEL:
                cancel_move(db, project_id)
            elif self.trained is not None and self.now.config.at(whole=False).controls:
                accuracy, labels = self.trained.accuracy.value, len(self.now.labels)
                unread = self.now.unread
                wish_where_it_may_pay(db, self.settings, project_id, labels, accuracy, unread)
            if is_tuned(self.now.space):  # pretrained features of what is labelled, and will be
                pending_work.want(db, project_id, WorkKind.EMBED)
            pending_work.finish(db, self.context.lease)

        self.store.database.write(commit)
