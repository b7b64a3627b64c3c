"""The work that follows a learning decision's commit.

It takes long, or writes more than one transaction should, so a new version doesn't wait for it. The
learning isn't done before it: a job whose process was killed is run again, and finds what is left.
"""

from dataclasses import replace

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
    key = MEASUREMENT_DUE.of(project_id)
    if decision.history is None:
        return
    with database.read() as db:
        due = key.get(db)
        advice = advice_of_version(db, due.version_id) if due is not None else None
    if due is None or advice is None:
        return

    def begin(db: Connection) -> None:
        pending_work.check(db, context.lease)
        key.set(db, replace(due, attempts=due.attempts + 1))

    def end(db: Connection) -> None:
        pending_work.check(db, context.lease)
        save_advice(db, project_id, due.version_id, measured)
        key.delete(db)

    database.write(begin)
    measured = measure_choosing(decision.snapshot, decision.history, advice)
    database.write(end)


def _finish(db: Connection, context: JobContext) -> None:
    """Mark the learning as done; a postponement by the version's push stays."""
    pending_work.check(db, context.lease)
    work = pending_work.get_work(db, context.project.id, context.lease.kind, lock=True)
    pending_work.finish(db, context.lease, not_before=work.not_before if work else 0.0)
