"""The job learn: trains heads, compares versions, chooses the shortlist. No torch.

The decision is written in one transaction; the publish job carries it to Label Studio.
"""

from importlib import import_module

from model.backbones.registry import FAMILIES
from model.heads.registry import HEADS
from model.selection.registry import STRATEGIES
from model.targets.kind import TARGETS
from services.labels.labelled_tasks import mark_labelled_tasks
from services.learning.commit import commit
from services.learning.decide import decide
from services.learning.follow_up import follow_up
from services.learning.guest_work import request_guest_work, serve_guests_alone
from store.work.work_kind import WorkKind
from worker.jobs.runner import running

PRELOADED = ("model.processes", "scipy.linalg", "sklearn.ensemble", "threadpoolctl")


def preload() -> None:
    """Import in the worker what its children would import each time."""
    for name in PRELOADED:
        import_module(name)
    for registry in (FAMILIES, HEADS, STRATEGIES, TARGETS):
        registry.names()


def run(project_id: int, generation: int) -> None:
    """Learn from today's labels, or refill the shortlist when they are the same as before."""
    with running(WorkKind.LEARN, project_id, generation) as context:
        mark_labelled_tasks(context.store, project_id)
        if serve_guests_alone(context):
            return
        decision = decide(context)
        commit(context, decision)
        request_guest_work(context)
        context.announce()
        follow_up(context, decision)
