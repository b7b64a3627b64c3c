"""The job finetune: fine-tunes a backbone in a process that can be cancelled."""

from services.finetuning.finetune import Finetuning
from store.work.work_kind import WorkKind
from worker.jobs.cancellation import CancelWatch
from worker.jobs.runner import running


def run(project_id: int, generation: int) -> None:
    """Fine-tune on today's labels; go on where a killed run was."""
    with running(WorkKind.FINETUNE, project_id, generation) as context:
        folder = context.store.settings.home / "finetune" / str(project_id)
        job = Finetuning(context, folder)
        with CancelWatch(context, clear=job.clear_if_cancelled) as watch:
            job.run(watch.cancelled)
