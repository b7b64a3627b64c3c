"""Restores a backup into an empty home and database, or in place of what is there."""

import base64
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import (
    JSON,
    Connection,
    Integer,
    MetaData,
    Table,
    func,
    insert,
    inspect,
    text,
    update,
)

from services.backup.archive import EMBEDDINGS, TABLES, BackupError, BackupReader, Manifest
from store.database.engine import Database
from store.database.recreation import recreate
from store.database.schema import project, task
from store.files.artifacts import Artifacts
from store.identity import create_identity
from store.settings import Settings
from store.store import Store

ROWS = 500  # written at a time
NULL_BYTE = "\0"  # SQLite stores it in a text, PostgreSQL doesn't

T = TypeVar("T")


def restore_backup(settings: Settings, path: Path, *, force: bool = False) -> Manifest:
    """Restore a backup into the database and the models' folder of the settings.

    All rows are written in one transaction: a restore that is interrupted leaves none.

    Args:
        force: replace what is there; else nothing may be.

    Raises:
        BackupError: the backup is damaged or too new, or something is there already.
    """
    with BackupReader(path) as backup:
        backup.verify()
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        database = Database(settings.database)
        try:
            _prepare(database, settings, backup.manifest, force=force)
            _restore_models(Artifacts(settings.storage), backup)
            database.write(lambda db: _restore_tables(db, backup))
        finally:
            database.close()
        store = Store.open(settings, migrate=True)
        try:
            store.embeddings.clear()
            _restore_embeddings(store, backup)
            create_identity(store)
        finally:
            store.close()
        return backup.manifest


def _prepare(database: Database, settings: Settings, manifest: Manifest, *, force: bool) -> None:
    """Make the tables as they were when the backup was made."""
    if not force and not _is_empty(database):
        raise BackupError(
            f"the database in {settings.home} is not empty: set APPRENTICE_HOME (and "
            "APPRENTICE_DATABASE_URL) to another one, or replace it with --force"
            if database.is_sqlite
            else "the database is not empty: set APPRENTICE_DATABASE_URL to another one, or "
            "replace it with --force"
        )
    try:
        recreate(database, manifest.schema)
    except LookupError:
        raise BackupError(
            f"the backup is of a newer version of Apprentice (schema {manifest.schema}): update "
            "first"
        ) from None


def _is_empty(database: Database) -> bool:
    with database.read() as db:
        if not inspect(db).has_table("connection"):
            return True
        return not db.execute(text("SELECT count(*) FROM connection")).scalar_one()


def _restore_models(artifacts: Artifacts, backup: BackupReader) -> None:
    for model, names in backup.models().items():
        artifacts.write_files(model, {name: backup.model_file(model, name) for name in names})


def _restore_tables(db: Connection, backup: BackupReader) -> None:
    tables = MetaData()
    tables.reflect(db)
    for table in tables.sorted_tables:
        _adapt(table)
        for rows in _parts(backup.rows(f"{TABLES}/{table.name}.jsonl"), ROWS):
            db.execute(insert(table), [_fit(row, table) for row in rows])
        _continue_ids(db, table)
    # Nobody heard the webhooks that came since.
    db.execute(update(project).values(reconciled_at=None, listed_at=None))


def _adapt(table: Table) -> None:
    """Have None mean no value in JSON columns, as it does everywhere else."""
    for column in table.columns:
        if isinstance(column.type, JSON):
            column.type = JSON(none_as_null=bool(column.nullable))


def _fit(row: dict[str, Any], table: Table) -> dict[str, Any]:
    return {
        name: value.replace(NULL_BYTE, "") if isinstance(value, str) else value
        for name, value in row.items()
        if name in table.columns
    }


def _continue_ids(db: Connection, table: Table) -> None:
    """Have PostgreSQL number new rows after those that were restored."""
    if db.dialect.name != "postgresql":
        return
    for column in table.primary_key.columns:
        if isinstance(column.type, Integer):
            sequence = db.execute(
                text("SELECT pg_get_serial_sequence(:table, :column)"),
                {"table": f'"{table.name}"', "column": column.name},
            ).scalar()
            newest = db.execute(func.max(column).select()).scalar()
            if sequence and newest:
                db.execute(text("SELECT setval(:s, :n)"), {"s": sequence, "n": newest})


def _restore_embeddings(store: Store, backup: BackupReader) -> None:
    if backup.manifest.embeddings is None:  # they are computed again
        store.database.write(
            lambda db: db.execute(update(task).values(embedded_space=None, next_space=None))
        )
        return
    for rows in _parts(backup.rows(EMBEDDINGS), ROWS):
        for space, group in itertools.groupby(rows, key=lambda row: str(row["space"])):
            vectors = {
                str(row["image_key"]): np.frombuffer(base64.b64decode(row["vector"]), "<f2")
                for row in group
            }
            store.embeddings.put(space, vectors)


def _parts(rows: Iterator[T], size: int) -> Iterator[list[T]]:
    while part := list(itertools.islice(rows, size)):
        yield part
