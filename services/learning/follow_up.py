"""The work that follows a learning decision's commit.

It takes long, or writes more than one transaction should, so a new version doesn't wait for it. The
learning isn't done before it: a job whose process was killed is run again, and finds what is left.
"""

from sqlalchemy import Connection

from services.advice import MEASUREMENT_DUE, advice_of_version, save_advice
from services.job_context import JobContext
from services.learning.decision import LearnDecision
from services.reports.active_learning import measure_choosing
from services.suggestions.auto_accept import accept
from store.work import pending_work


def follow_up(context: JobContext, decision: LearnDecision) -> None:
    """Measure the learning curve and the strategy, auto-accept, and mark the learning as done."""
    with context.step("advise"):
        _measure(context, decision)
    with context.step("accept"):
        accept(context, decision.snapshot)
    context.store.database.write(lambda db: _finish(db, context))


def _measure(context: JobContext, decision: LearnDecision) -> None:
    project_id, database = decision.project.id, context.store.database
    due = MEASUREMENT_DUE.of(project_id)
    if decision.history is None:
        return
    with database.read() as db:
        version_id = due.get(db)
        advice = advice_of_version(db, version_id) if version_id is not None else None
    if version_id is None or advice is None:
        return
    measured = measure_choosing(decision.snapshot, decision.history, advice)

    def write(db: Connection) -> None:
        pending_work.check(db, context.lease)
        save_advice(db, project_id, version_id, measured)
        due.delete(db)

    database.write(write)


def _finish(db: Connection, context: JobContext) -> None:
    """Mark the learning as done; a postponement by the version's push stays."""
    work = pending_work.get_work(db, context.project.id, context.lease.kind)
    pending_work.finish(db, context.lease, not_before=work.not_before if work else 0.0)
