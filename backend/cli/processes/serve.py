"""`apprentice serve`."""

from backend.cli.errors import CommandError
from backend.cli.store_access import load_settings

PRIORITY = 10  # an annotator waits for each request, and none takes long


def serve() -> None:
    """Start the web process alone."""
    from backend import app, logs
    from backend.http.auth import OpenBindingError
    from store.files.permissions import HomeError, make_files_private, secure_folder
    from store.inbox.log import LogInUseError
    from worker.queues.store_claim import queues_problem
    from worker.supervision.cpu_priority import raise_cpu_priority

    settings = load_settings()
    logs.configure(settings.log_level)
    make_files_private()
    raise_cpu_priority(PRIORITY)
    if settings.redis_url and (problem := queues_problem(settings)) is not None:
        raise CommandError(problem, code=2)
    try:
        secure_folder(settings.home)
        app.serve(settings)
    except (HomeError, LogInUseError, OpenBindingError) as error:
        raise CommandError(str(error), code=2) from error
