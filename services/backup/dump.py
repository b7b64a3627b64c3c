"""Writes a backup while everything runs: the database of one moment, and the models it names."""

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, select, text

from services.backup.archive import EMBEDDINGS, MODELS, TABLES, BackupWriter, Manifest
from store.database.schema import metadata, runtime, tuned, version
from store.database.shard_schema import embedding_shard
from store.files.artifacts import ArtifactError
from store.projects.key_values import EMBED_WORKERS, HELPERS, IDENTITY
from store.store import Store
from store.work.scheduler_lease import NAME as SCHEDULER

ROWS = 1_000  # held in memory at a time
# Values of processes that run now, and the database's own id: a restored one is another.
PASSING = (IDENTITY.name, EMBED_WORKERS.name, SCHEDULER)
PASSING_PREFIX = f"{HELPERS.prefix}:"
TUNED = "tuned"  # folder of fine-tuned backbones among the models


def write_backup(store: Store, path: Path, *, embeddings: bool = True) -> Manifest:
    """Write a backup of the store into a new file.

    Args:
        embeddings: include them; else they are computed again after the backup is restored.

    Raises:
        OSError: the file can't be written, or the models' folder can't be read.
    """
    with store.database.read() as db:
        schema = str(db.execute(text("SELECT version_num FROM alembic_version")).scalar_one())
        manifest = Manifest(schema, time.time())
        with BackupWriter(path, manifest) as backup:
            for table in metadata.sorted_tables:
                if table is not embedding_shard:
                    name = f"{TABLES}/{table.name}.jsonl"
                    manifest.rows[table.name] = backup.add_rows(name, _rows(db, table))
            _add_models(store, db, backup)
            if embeddings:
                manifest.embeddings = backup.add_rows(EMBEDDINGS, _embeddings(store))
    return manifest


def _rows(db: Connection, table: Table) -> Iterator[dict[str, Any]]:
    key = list(table.primary_key.columns)
    result = db.execution_options(yield_per=ROWS).execute(select(table).order_by(*key))
    for row in result:
        if table is runtime and (row.name in PASSING or row.name.startswith(PASSING_PREFIX)):
            continue
        yield dict(row._mapping)


def _add_models(store: Store, db: Connection, backup: BackupWriter) -> None:
    digests = set(db.execute(select(version.c.artifact)).scalars()) - {None}
    tuned_digests = db.execute(select(tuned.c.digest).where(tuned.c.cleared_at.is_(None))).scalars()
    for model in [*sorted(digests), *(f"{TUNED}/{digest}" for digest in sorted(tuned_digests))]:
        try:
            files = store.artifacts.read_files(model)
        except ArtifactError:  # deleted just now, or lost long ago; the rest is worth a backup
            backup.manifest.missing.append(model)
            continue
        for name, content in files.items():
            backup.add_file(f"{MODELS}/{model}/{name}", content)


def _embeddings(store: Store) -> Iterator[dict[str, str]]:
    for space, key, vector in store.embeddings.all():
        encoded = base64.b64encode(vector).decode()
        yield {"space": space, "image_key": key, "vector": encoded}
