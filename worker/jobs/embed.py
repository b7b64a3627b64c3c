"""The job embed: computes an embedding of each new image."""

from services.embedding.project_embedding import ProjectEmbedding
from store.work.work_kind import WorkKind
from worker.jobs.runner import running, worker_of_this_job


def preload() -> None:
    """Import in the worker what its children would import each time. Opens no device."""
    import model.embedding.openvino_runtime  # noqa: F401


def run(project_id: int, generation: int) -> None:
    """Embed new images, for at most a time box; then request the next job."""
    with running(WorkKind.EMBED, project_id, generation) as context:
        ProjectEmbedding(context, worker_of_this_job()).run()
