"""`apprentice serve`."""

from backend import logs
from backend.app import serve
from backend.auth import OpenBindingError
from backend.commands.common import CommandError, load_settings


def run() -> None:
    """Run the web process until SIGTERM or Ctrl-C."""
    settings = load_settings()
    logs.configure(settings.log_level)
    try:
        serve(settings)
    except OpenBindingError as error:
        raise CommandError(str(error), code=2) from error
