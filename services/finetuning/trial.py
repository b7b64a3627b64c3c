"""Evaluates a fine-tuned backbone by heads on labels that it has not seen."""

from typing import Any

import structlog

from model.embedding import Embedder
from model.finetuning import CannotFinetuneError
from services.connections.clients import image_loader
from services.embedding.bulk_embedding import BulkEmbedding
from services.finetuning.plan import FinetuningPlan
from services.job_context import JobContext
from services.reports.label_review import review
from services.snapshot import Snapshot, take_snapshot
from services.suggestions.predictor import Predictor
from services.training.candidate import Candidate
from services.training.finetuned_features import as_tuned
from services.training.gate import judge_anywhere
from services.training.train import train
from services.training.training_set import training_set
from store.store import Store
from store.tasks.space_role import SpaceRole
from store.tasks.units import task_of

log = structlog.get_logger()

EMBED_SECONDS = 3_600.0  # for the labelled images alone


def embed_labelled(context: JobContext, embedder: Embedder) -> None:
    """Embed the labelled images with the tuned backbone, before the project uses it."""
    snapshot = take_snapshot(context.store, context.project.id)
    tasks = {*map(task_of, snapshot.labels)}
    labelled = [image for image in snapshot.images if image.ls_id in tasks and image.usable]
    loader = image_loader(context.store, context.project.connection_id)
    until = context.seconds + EMBED_SECONDS
    try:
        BulkEmbedding(context, embedder, loader, SpaceRole.NEXT, until=until, only=labelled).run()
    finally:
        loader.close()


def evaluate_backbone(
    store: Store,
    snapshot: Snapshot,
    plan: FinetuningPlan,
    space: str,
    report: dict[str, Any],
    *,
    seed: int,
) -> Candidate:
    """Fit heads in the tuned space, and let the gate compare them with the served version.

    Args:
        snapshot: the project; its labelled tasks have embeddings in `space` too.
        report: how the backbone was tuned.

    Raises:
        CannotFinetuneError: no head can be fitted.
    """
    version = snapshot.served
    served = Predictor.load(store, version) if version else None
    data = training_set(store, snapshot.moved(space))
    data = as_tuned(
        store,
        snapshot.project.id,
        data,
        plan.backbone,
        training_tasks=plan.training_tasks,
        validation_tasks=plan.validation_tasks,
    )
    head = store.settings.head
    kinds = None if head == "auto" else (head,)
    trained = train(data, snapshot.config, seed=seed, served=None, kinds=kinds)
    if not trained.results:
        raise CannotFinetuneError("; ".join(trained.untrained.values()))
    verdict = judge_anywhere(store, trained, data, served, version)
    log.info(
        "tuned",
        accuracy=round(trained.accuracy.value, 4),
        accepted=verdict.accepted,
        verdict=verdict.reason,
    )
    reviewed = review(trained.results, snapshot.read_at)
    return Candidate(trained, data, data.digest(snapshot.config), verdict, reviewed, report)
