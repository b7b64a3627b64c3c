"""`apprentice serve`."""

from backend import logs
from backend.app import serve
from backend.cli.common import CommandError, load_settings
from backend.http.auth import OpenBindingError


def run() -> None:
    """Run the web process until SIGTERM or Ctrl-C."""
    settings = load_settings()
    logs.configure(settings.log_level)
    try:
        serve(settings)
    except OpenBindingError as error:
        raise CommandError(str(error), code=2) from error
