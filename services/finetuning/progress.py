"""Writes a fine-tuning's progress into its job, in one line for people."""

import time

from model.finetuning import Progress
from services.job_context import JobContext

# Between two writes: who goes back behind all others holds the write lock long, and webhooks wait.
SHOW_SECONDS = 5.0
# What of the whole job each phase of the engine takes, roughly.
PHASES = {"images": (0.0, 0.05), "features": (0.05, 0.1), "training": (0.1, 0.85)}
CHOOSING = (0.85, 0.9)


class ProgressWriter:
    """Writes the engine's reports into the job's row."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._shown = 0.0

    def show(self, progress: Progress) -> None:
        """Show where the engine is, not more often than anyone would look."""
        now = time.monotonic()
        if now - self._shown < SHOW_SECONDS and progress.step < progress.steps:
            return
        self._shown = now
        begin, end = PHASES.get(progress.phase, CHOOSING)
        share = progress.step / max(progress.steps, 1)
        self._context.progress(begin + (end - begin) * share, message(progress))


def message(progress: Progress) -> str:
    """ "training: step 120 of 500, loss 0.412, 85 images/s, 4 min left"."""
    parts = [f"{progress.phase}: step {progress.step} of {progress.steps}"]
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.3f}")
    parts.append(f"{progress.images_per_second:.0f} images/s")
    if progress.seconds_left is not None:
        parts.append(f"{duration(progress.seconds_left)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """ "40 s", "4 min" or "1 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
