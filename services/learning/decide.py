"""Makes a learning decision from a project's labels, without writing to the database."""

from collections.abc import Iterable
from dataclasses import replace

import structlog

from model.active_learning.advice import Advice
from model.evaluation.paired_tests import Verdict
from model.registry import UnknownNameError
from services.advice import MEASUREMENT_DUE, advice_of_version
from services.guests.version_names import guests_title, with_guests
from services.job_context import JobContext
from services.learning.decision import LearnDecision, Move, NewVersion, Publish, Refill
from services.learning.start_version import pool_has_grown
from services.publishing.outdated import outdated
from services.publishing.push_costs import PUSH_COSTS, PushCosts
from services.publishing.push_order import REST_SECONDS
from services.reports.active_learning import (
    LabelHistory,
    advise,
    continue_audit,
    is_measurement_due,
)
from services.reports.label_review import review
from services.reports.ledger_summary import new_summary
from services.selection.queued_list import NO_LIST, queued_list
from services.selection.shortlist import (
    OpenList,
    annotators_at_work,
    choose_next,
    most_labels,
    strategy_of,
)
from services.snapshot import Snapshot, take_snapshot
from services.suggestions.prediction_items import rest_items, shortlist_items
from services.suggestions.predictor import Predictor, Suggestion
from services.suggestions.suggest import suggest
from services.training.candidate import Candidate
from services.training.finetuned_features import labelled_set, measurable, unseen_only
from services.training.gate import judge_anywhere
from services.training.holdout import extend_holdout
from services.training.train import Trained, train
from services.training.training_set import TrainingSet
from store.files.artifacts import ArtifactError
from store.predictions.publications import predicted_tasks
from store.projects.embedding_spaces import is_tuned, move_is_ready
from store.tasks.units import TaskId, task_of
from store.versions.finetuned_backbones import FinetunedBackbone
from store.versions.versions import Version, hardest_control

log = structlog.get_logger()

SEED = 0  # same labels, same version
FIRST_TASKS = 4  # for each annotator, whose suggestions don't wait for the bulk import of the rest
MOST_ATTEMPTS = 3  # at a measurement: it must not keep a project from ever having learned
WAITS = "it waits for `apprentice promote`, since a person chose what is served"


def decide(context: JobContext) -> LearnDecision:
    """Train on the project's labels, compare with the served version, choose the next tasks."""
    with context.step("read"):
        snapshot = take_snapshot(context.store, context.project.id)
    decision = _Learning(context, snapshot).decide()
    with context.step("ledger"), context.store.database.read() as db:
        ledger = new_summary(db, decision.snapshot.project, decision.snapshot.annotations)
    _, complaint = strategy_of(context.store.settings)
    reasons = "; ".join(filter(None, (complaint, decision.reason)))
    return replace(decision, ledger=ledger, reason=reasons or None)


class _Learning:
    """A decision under way. `project` is as read, `snapshot` after its move, if that ends."""

    def __init__(self, context: JobContext, before: Snapshot) -> None:
        self.context = context
        self.store = context.store
        self.before = before
        self.snapshot, self.move = self._after_move()
        self.holdout: frozenset[TaskId] = frozenset()
        with self.store.database.read() as db:
            self.guests = guests_title(db, self.store.settings, before.project)

    def decide(self) -> LearnDecision:
        snapshot = self.snapshot
        if snapshot.config.reason is not None or not snapshot.space:
            return self._decision(reason=snapshot.config.reason)
        with self.context.step("read"):
            data, tuned = self._training_set()
        digest = with_guests(data.digest(snapshot.config), self.guests)
        served = self._load(snapshot.served)
        versions = (snapshot.newest, snapshot.served)
        if digest in {version.labels_digest for version in versions if version}:
            return replace(self._refill(served), history=self._unfinished(data, digest, served))
        try:
            with self.context.step("fit"):
                trained = self._train(data, served)
        except UnknownNameError as error:
            return replace(self._refill(served), reason=f"APPRENTICE_HEAD: {error}")
        if not trained.results:
            reason = self._why_untrained(data, trained)
            return replace(self._refill(served), reason=reason)
        with self.context.step("gate"):
            verdict = judge_anywhere(self.store, trained, data, served, snapshot.served)
            verdict = self._follow_people(verdict)
        log.info(
            "trained",
            labels=len(data.tasks),
            accuracy=round(trained.accuracy.value, 4),
            accepted=verdict.accepted,
            verdict=verdict.reason,
        )
        report = tuned.report if tuned is not None and self.move is Move.FINISH else None
        reviewed = review(trained.results, snapshot.read_at)
        return self._new_version(
            Candidate(trained, data, digest, verdict, reviewed, report), served
        )

    def _why_untrained(self, data: TrainingSet, trained: Trained) -> str:
        """Why no control has a head; labels whose images are to be read yet are labels too."""
        waiting = self.snapshot.not_embedded
        if waiting and not len(data.tasks):
            return f"none of the {waiting} labelled images is read yet"
        return "; ".join(trained.untrained.values())

    def _decision(
        self, *, reason: str | None = None, push: Publish | Refill | None = None
    ) -> LearnDecision:
        return LearnDecision(
            snapshot=self.snapshot,
            project=self.before.project,
            move=self.move,
            reason=reason,
            holdout=self.holdout,
            push=push,
        )

    def _after_move(self) -> tuple[Snapshot, Move]:
        """The project as it is after its move, if that can end now."""
        project = self.before.project
        with self.store.database.read() as db:
            ready = project.held_at is None and move_is_ready(db, project)
        if ready and project.next_space is not None:
            return self.before.moved(project.next_space), Move.FINISH
        return self.before, Move.NONE

    # Training

    def _training_set(self) -> tuple[TrainingSet, FinetunedBackbone | None]:
        labelled, tuned = labelled_set(self.store, self.snapshot)
        more = extend_holdout(labelled, unseen_only(self.snapshot.unbiased, tuned), seed=SEED)
        self.holdout = frozenset(map(task_of, more))
        data = replace(labelled, holdout=labelled.holdout | more)
        return measurable(self.store, data, tuned), tuned

    def _load(self, version: Version | None) -> Predictor | None:
        if version is None:
            return None
        try:
            return Predictor.load(self.store, version)
        except ArtifactError as error:
            log.warning("the served version can't be read; going on without it", error=str(error))
            return None

    def _train(self, data: TrainingSet, served: Predictor | None) -> Trained:
        newest, head = self.snapshot.newest, self.store.settings.head
        earlier = newest if newest and newest.embedding_space == data.space else None
        return train(
            data,
            self.snapshot.config,
            seed=SEED,
            served=served if served and served.space == data.space else None,
            earlier=earlier.metrics if earlier else None,
            kinds=None if head == "auto" else (head,),
        )

    def _follow_people(self, verdict: Verdict) -> Verdict:
        """Let a person's decision override the gate's."""
        project = self.snapshot.project
        if verdict.accepted and project.held_at is not None:
            return Verdict(True, f"{verdict.reason}; {WAITS}")
        following = project.next_backbone or ""
        if self.move is Move.FINISH and not is_tuned(following):
            return Verdict(True, f"the backbone was changed to {following}; {verdict.reason}")
        return verdict

    def _unfinished(
        self, data: TrainingSet, digest: str, served: Predictor | None
    ) -> LabelHistory | None:
        """The labels that a killed job didn't measure; None when there are none."""
        newest = self.snapshot.newest
        with self.store.database.read() as db:
            due = MEASUREMENT_DUE.of(self.snapshot.project.id).get(db)
        if due is None or due.attempts >= MOST_ATTEMPTS:
            return None
        if newest is None or newest.id != due.version_id or newest.labels_digest != digest:
            return None
        try:
            with self.context.step("fit"):
                trained = self._train(data, served)
        except UnknownNameError:
            return None
        return LabelHistory.of(trained, data) if trained.results else None

    # What becomes of the new version

    def _new_version(self, candidate: Candidate, served: Predictor | None) -> LearnDecision:
        snapshot, publishes = self.snapshot, candidate.verdict.accepted
        publishes = publishes and snapshot.project.held_at is None
        if self.move is Move.FINISH and not publishes:
            self.snapshot, self.move = self.before, Move.CANCEL
        artifact = candidate.keep(self.store, self.snapshot.config, seed=SEED)
        decision = self._publish(candidate) if publishes else self._refill(served, whole=True)
        if self.move is Move.CANCEL:
            return replace(decision, version=NewVersion(candidate, artifact, None))
        with self.context.step("advise"):
            advice = advise(self.store, snapshot, candidate, served)
        due = is_measurement_due(advice)
        return replace(
            decision,
            served_advice=self._served_advice(candidate, served),
            version=NewVersion(candidate, artifact, advice),
            history=LabelHistory.of(candidate.trained, candidate.data) if due else None,
        )

    def _served_advice(self, candidate: Candidate, predictor: Predictor | None) -> Advice | None:
        """The served version's advice after the gate has refused a candidate; else None."""
        served = self.snapshot.served
        if candidate.verdict.accepted or served is None or predictor is None:
            return None
        with self.store.database.read() as db:
            advice = advice_of_version(db, served.id)
        if advice is None:
            return None
        return continue_audit(advice, self.snapshot, candidate, predictor, served.created_at)

    def _publish(self, candidate: Candidate) -> LearnDecision:
        """Publish the new version with a new shortlist."""
        snapshot, trained = self.snapshot, candidate.trained
        predictor = trained.predictor(snapshot.space)
        choices = choose_next(self.context, snapshot, predictor, trained.hardest, seed=SEED)
        chosen = {choice.task for choice in choices}
        left = [task for task in snapshot.remaining if task not in chosen]
        with self.store.database.read() as db:
            worse = outdated(db, snapshot, trained)
        old = [task for task in worse if task not in chosen | set(left)]
        answers = self._suggest(predictor, {*chosen, *left, *old})
        items = shortlist_items(choices, answers) + rest_items(left, answers)
        urgent = FIRST_TASKS * annotators_at_work(snapshot.annotations)
        waits = most_labels(snapshot.received.values(), 2 * REST_SECONDS) < urgent - 1
        first = self._first_push(urgent, answers.values())
        refreshed = rest_items(old, answers)
        room = max(first - len(items), 0) if first > urgent else 0  # in the same import
        items += refreshed[:room]
        return self._decision(push=Publish(choices, items, first, waits, refreshed[room:]))

    def _first_push(self, urgent: int, answers: Iterable[Suggestion]) -> int:
        """The number of predictions that are pushed before the version is shown."""
        config, project_id = self.snapshot.config, self.snapshot.project.id
        if self.guests or not all(config.bulk(answer.result) for answer in answers):
            return urgent  # each more is waited for
        with self.store.database.read() as db:
            costs = PUSH_COSTS.of(project_id).get(db) or PushCosts()
        return costs.first_push(urgent)

    def _refill(self, predictor: Predictor | None, *, whole: bool = False) -> LearnDecision:
        """Refill the shortlist of the served version, or of the start version.

        Args:
            predictor: the served version's.
            whole: choose more tasks, though the list is long enough.
        """
        snapshot, served = self.snapshot, self.snapshot.served
        if served is None and snapshot.newest is not None and not whole:
            return self._decision()  # its publication is under way
        if predictor is None or not predictor.heads:
            predictor = Predictor({}, snapshot.space)
        half_left = len(snapshot.remaining) >= max(len(snapshot.shortlist), 1) / 2
        enough = half_left and not pool_has_grown(snapshot)
        if enough and not whole:
            return self._decision(push=Refill(served))
        project_id, annotated = snapshot.project.id, snapshot.annotated
        with self.store.database.read() as db:
            shown = predicted_tasks(db, project_id, served.id) if served else set()
            queued = queued_list(db, project_id, served.id, annotated) if served else NO_LIST
        hardest = hardest_control(served) if served else None
        before = OpenList(snapshot.remaining, shown, only_missing=enough)
        choices = choose_next(self.context, snapshot, predictor, hardest, before, seed=SEED)
        kept = snapshot.choices(snapshot.remaining)
        # What never got there under this version is pushed with the others.
        new = [choice for choice in kept if choice.task not in shown] + choices
        answers = self._suggest(predictor, {choice.task for choice in new})
        items = shortlist_items(new, answers, first=queued.next_place)
        return self._decision(push=Refill(served, kept + choices, items, len(snapshot.open)))

    def _suggest(self, predictor: Predictor, tasks: set[TaskId]) -> dict[TaskId, Suggestion]:
        listed = [task for task in self.snapshot.tasks if task.ls_id in tasks]
        return suggest(self.store, self.snapshot.project, listed, predictor, self.snapshot.config)
