"""`apprentice guests`."""

from backend.cli.errors import CommandError
from backend.cli.store_access import load_settings


def guests() -> None:
    """Start the process of the guest models alone, which APPRENTICE_GUESTS names."""
    from backend import logs
    from services.guests.specification import GuestSettingError
    from store.files.permissions import make_files_private
    from worker.guests import server

    make_files_private()
    settings = load_settings()
    logs.configure(settings.log_level)
    if not settings.guests:
        raise CommandError("APPRENTICE_GUESTS names no guest", code=2)
    try:
        server.main(settings)
    except GuestSettingError as error:
        raise CommandError(str(error), code=2) from error
