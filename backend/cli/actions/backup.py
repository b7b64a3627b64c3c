"""`apprentice backup FILE` and `apprentice restore FILE`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli.errors import CommandError, first_line
from backend.cli.store_access import load_settings, open_store, require_database

if TYPE_CHECKING:
    from store.settings import Settings


def backup(
    file: Annotated[Path, typer.Argument(help="The new file.", show_default=False)],
    *,
    embeddings: Annotated[
        bool,
        typer.Option(help="Include embeddings; without them, they are computed again."),
    ] = True,
) -> None:
    """Write everything that is remembered into one file, while all goes on."""
    from sqlalchemy.exc import SQLAlchemyError

    from services.backup.dump import write_backup

    if file.exists():
        raise CommandError(f"{file} is there already: choose another name, or delete it")
    settings = load_settings()
    require_database(settings)
    with open_store(settings, migrate=False) as store:
        try:
            manifest = write_backup(store, file, embeddings=embeddings)
        except (OSError, SQLAlchemyError) as error:
            raise CommandError(f"no backup was written: {first_line(error)}") from error
    models = len({name.rpartition("/")[0] for name in manifest.digests if "models/" in name})
    typer.echo(
        f"{file}: {manifest.rows['project']} projects, {manifest.rows['task']:,} images, "
        f"{manifest.rows['annotation']:,} annotations, {models} models, "
        f"{'no' if manifest.embeddings is None else f'{manifest.embeddings:,}'} embeddings, "
        f"{file.stat().st_size / 1e6:.1f} MB. It holds Label Studio's token: keep it to yourself."
    )
    if manifest.missing:
        typer.echo(
            f"These models are missing or damaged, and not in it: {', '.join(manifest.missing)}"
        )


def restore(
    file: Annotated[Path, typer.Argument(help="A file of `apprentice backup`.")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace what is remembered now.")] = False,
) -> None:
    """Read a backup into an empty home and database, of whatever kind."""
    from sqlalchemy.exc import SQLAlchemyError

    from services.backup.archive import BackupError
    from services.backup.restore import restore_backup

    settings = load_settings()
    _require_stopped(settings)
    try:
        manifest = restore_backup(settings, file, force=force)
    except BackupError as error:
        raise CommandError(str(error)) from error
    except (OSError, SQLAlchemyError) as error:
        raise CommandError(f"the backup can't be restored: {first_line(error)}") from error
    typer.echo(
        f"Restored {manifest.rows['project']} projects with {manifest.rows['annotation']:,} "
        "annotations. Start `apprentice up`: it asks Label Studio what has changed since."
    )


def _require_stopped(settings: "Settings") -> None:
    """Raise CommandError while a web process works with the database of these settings."""
    from redis import RedisError

    from backend.doctor.readiness import web_is_ready
    from worker.queues.broker import broker_address, redis_from_url
    from worker.queues.store_claim import claimed_by

    client = redis_from_url(broker_address(settings), retries=0)
    try:
        claimed = claimed_by(client) is not None
    except RedisError:
        claimed = False
    finally:
        client.close()
    if claimed or web_is_ready(settings):
        raise CommandError(
            "Apprentice is running: stop it first (one that was killed counts for 30 s)"
        )
