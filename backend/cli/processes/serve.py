"""`apprentice serve`."""

from backend.cli.errors import CommandError
from backend.cli.store_access import load_settings


def serve() -> None:
    """Start the web process alone."""
    from backend import app, logs
    from backend.http.auth import OpenBindingError

    settings = load_settings()
    logs.configure(settings.log_level)
    try:
        app.serve(settings)
    except OpenBindingError as error:
        raise CommandError(str(error), code=2) from error
