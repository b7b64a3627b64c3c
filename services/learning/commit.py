"""Writes a learning decision into the database, in one transaction."""

from sqlalchemy import Connection

from services.advice import MEASUREMENT_DUE, DueMeasurement, save_advice
from services.finetuning.policy import request_finetuning_if_it_may_pay
from services.guests.version_names import name_guests
from services.job_context import JobContext
from services.learning.decision import LearnDecision, Move, Publish, Refill
from services.learning.start_version import start_version
from services.reports.ledger_summary import save_summary
from store.database.locks import lock_project
from store.predictions.publication_reason import PublicationReason
from store.predictions.publications import add_publication
from store.predictions.shortlists import set_shortlist
from store.projects.embedding_spaces import cancel_move, finish_move, is_tuned, move_is_still_wanted
from store.projects.projects import change_project, is_pinned
from store.settings import Settings
from store.tasks.tasks import assign_holdout
from store.versions.label_reviews import save_review
from store.versions.version_metrics import VersionMetrics
from store.versions.versions import START, Version, change_version, get_version
from store.work import pending_work
from store.work.work_kind import WorkKind


def commit(context: JobContext, decision: LearnDecision) -> None:
    """Write the decision. The learning itself is done after its follow-ups.

    Raises:
        LeaseLostError: a newer job has begun, or a person has decided anew about the backbone.
    """
    project_id, settings = decision.project.id, context.store.settings

    def write(db: Connection) -> None:
        pending_work.check(db, context.lease)
        lock_project(db, project_id)
        if decision.move is not Move.NONE and not move_is_still_wanted(db, decision.project):
            raise pending_work.LeaseLostError("a person has decided anew about the backbone")
        if decision.holdout:
            assign_holdout(db, project_id, decision.holdout)
        if decision.ledger is not None:
            save_summary(db, project_id, decision.ledger)
        version = _add_version(db, settings, decision)
        if decision.served_advice is not None and decision.snapshot.served is not None:
            save_advice(db, project_id, decision.snapshot.served.id, decision.served_advice)
        if decision.push is not None:
            _push(db, settings, decision, version)
            # Learning itself has waited until our share of Label Studio's time allows it.
            pending_work.want(db, project_id, WorkKind.PUBLISH, not_before=0.0)
        change_project(db, project_id, reason=decision.reason)
        _change_backbone(db, settings, decision)

    context.store.database.write(write)


def _add_version(db: Connection, settings: Settings, decision: LearnDecision) -> Version | None:
    """Add the trained version with its advice and its review of the labels."""
    new, project_id = decision.version, decision.project.id
    if new is None:
        return None
    if decision.move is not Move.CANCEL:
        save_review(db, project_id, new.candidate.review)
    version = new.candidate.add(db, project_id, new.artifact)
    name_guests(db, settings, decision.project, version)
    if new.advice is not None:
        save_advice(db, project_id, version.id, new.advice)
        due = MEASUREMENT_DUE.of(project_id)
        due.delete(db)
        if decision.history is not None:
            due.set(db, DueMeasurement(version.id))
    return version


def _push(
    db: Connection, settings: Settings, decision: LearnDecision, added: Version | None
) -> None:
    if isinstance(decision.push, Publish):
        assert added is not None, "only a version that was trained is published"
        _publish(db, decision.push, added)
    elif isinstance(decision.push, Refill):
        _refill(db, settings, decision.push, decision)


def _publish(db: Connection, publish: Publish, version: Version) -> None:
    project_id = version.project_id
    if is_pinned(db, project_id):
        return  # a person chose meanwhile what is served
    first, rest = publish.items[: publish.first], publish.items[publish.first :]
    add_publication(db, project_id, version.id, PublicationReason.VERSION, first)
    if rest:
        reason = PublicationReason.REST if publish.rest_waits else PublicationReason.REFILL
        add_publication(db, project_id, version.id, reason, rest)
    if publish.refreshed:
        refreshed = publish.refreshed
        add_publication(db, project_id, version.id, PublicationReason.REFRESH, refreshed)
    set_shortlist(db, project_id, version.id, publish.shortlist)


def _refill(db: Connection, settings: Settings, refill: Refill, decision: LearnDecision) -> None:
    if not refill.items:
        return
    project_id = decision.project.id
    version = refill.version
    if version is None:
        version = start_version(db, project_id, decision.snapshot.space)
        if not version.metrics:  # it was made just now
            name_guests(db, settings, decision.project, version)
    if version.kind == START:
        version = get_version(db, version.id) or version
        metrics: VersionMetrics = {**version.metrics, "pool": refill.open_tasks}
        change_version(db, version.id, metrics=metrics)
    reason = PublicationReason.REFILL if refill.version else PublicationReason.VERSION
    add_publication(db, project_id, version.id, reason, refill.items)
    set_shortlist(db, project_id, version.id, refill.shortlist)


def _change_backbone(db: Connection, settings: Settings, decision: LearnDecision) -> None:
    """End the project's move, or request fine-tuning where it may pay."""
    project_id, snapshot = decision.project.id, decision.snapshot
    if decision.move is Move.FINISH:
        finish_move(db, snapshot.project)
        pending_work.want(db, project_id, WorkKind.EMBED)  # what the new space lacks
    elif decision.move is Move.CANCEL:
        cancel_move(db, project_id)
    elif decision.version is not None and snapshot.config.at(whole=False).controls:
        accuracy = decision.version.candidate.trained.accuracy.value
        labels, not_embedded = len(snapshot.labels), snapshot.not_embedded
        request_finetuning_if_it_may_pay(db, settings, project_id, labels, accuracy, not_embedded)
    if is_tuned(snapshot.space):  # pretrained features of what is labelled, and will be
        pending_work.want(db, project_id, WorkKind.EMBED)
