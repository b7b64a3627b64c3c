"""The file of a backup: a ZIP with JSON lines and models, and the SHA-256 of each of its entries.

It is the same for every database, so a backup of SQLite is restored into PostgreSQL, and the other
way round.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from services.errors import JobError

FORMAT = 1
MANIFEST = "backup.json"
TABLES = "tables"
MODELS = "models"
EMBEDDINGS = "embeddings.jsonl"
PART_BYTES = 1 << 20


class BackupError(JobError):
    """The backup can't be made or restored; the message says why."""


@dataclass
class Manifest:
    """What a backup holds.

    Attributes:
        schema: the newest migration of the database that it is of.
        created_at: seconds since 1970.
        rows: {table: number of rows}.
        embeddings: their number; None when they were left out.
        missing: models that were missing or damaged when the backup was made.
        digests: {entry: SHA-256 of its content}.
    """

    schema: str
    created_at: float
    rows: dict[str, int] = field(default_factory=dict)
    embeddings: int | None = None
    missing: list[str] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT


class BackupWriter:
    """Writes a backup; the file appears under its name when it is complete. A context manager."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.manifest = manifest
        self._path = path
        self._scratch = path.with_name(f".{path.name}.{os.getpid()}")

    def __enter__(self) -> "BackupWriter":
        handle = os.open(self._scratch, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)  # holds tokens
        self._file = os.fdopen(handle, "w+b")
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._zip.writestr(MANIFEST, json.dumps(asdict(self.manifest)))
        self._zip.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if kind is None:
            self._scratch.replace(self._path)
        else:
            self._scratch.unlink()

    def add_rows(self, name: str, rows: Iterable[dict[str, Any]]) -> int:
        """Add JSON objects, one a line; returns how many there were."""
        count, digest = 0, hashlib.sha256()
        with self._zip.open(name, "w", force_zip64=True) as entry:
            for row in rows:
                line = json.dumps(row).encode() + b"\n"
                digest.update(line)
                entry.write(line)
                count += 1
        self.manifest.digests[name] = digest.hexdigest()
        return count

    def add_file(self, name: str, content: bytes) -> None:
        """Add a file."""
        self._zip.writestr(name, content)
        self.manifest.digests[name] = hashlib.sha256(content).hexdigest()


class BackupReader:
    """Reads a backup. Use it in a `with` block.

    Raises:
        BackupError: the file is no backup, or one that is damaged or too new.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
            stored = json.loads(self._zip.read(MANIFEST))
            if stored["format"] > FORMAT:
                raise BackupError(f"{path} was made by a newer version of Apprentice: update first")
            self.manifest = Manifest(**stored)
        except FileNotFoundError:
            raise BackupError(f"there is no file {path}") from None
        except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
            raise BackupError(f"{path} is no backup, or only a part of one ({error})") from error

    def __enter__(self) -> "BackupReader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._zip.close()

    def verify(self) -> None:
        """Read everything once; raise BackupError where it isn't what was written."""
        names = set(self._zip.namelist()) - {MANIFEST}
        if names != self.manifest.digests.keys():
            raise BackupError("the backup is damaged: it lacks some of its entries")
        for name, expected in self.manifest.digests.items():
            digest = hashlib.sha256()
            try:
                with self._zip.open(name) as entry:
                    while part := entry.read(PART_BYTES):
                        digest.update(part)
            except (zipfile.BadZipFile, OSError, ValueError, EOFError) as error:
                raise BackupError(f"the backup is damaged: {name} ({error})") from error
            if digest.hexdigest() != expected:
                raise BackupError(f"the backup is damaged: {name}")

    def rows(self, name: str) -> Iterator[dict[str, Any]]:
        """The JSON objects of an entry; none where there is no such entry."""
        if name not in self.manifest.digests:
            return
        with self._zip.open(name) as entry:
            for line in entry:
                yield json.loads(line)

    def models(self) -> dict[str, list[str]]:
        """{model: names of its files}."""
        files: dict[str, list[str]] = {}
        for name in sorted(self.manifest.digests):
            if name.startswith(f"{MODELS}/"):
                model, _, file = name.removeprefix(f"{MODELS}/").rpartition("/")
                files.setdefault(model, []).append(file)
        return files

    def model_file(self, model: str, file: str) -> bytes:
        """The content of a model's file."""
        return self._zip.read(f"{MODELS}/{model}/{file}")
