"""The store as one object: settings, database, embeddings, artifacts."""

from dataclasses import dataclass

from store.database.engine import Database
from store.files.artifacts import Artifacts
from store.files.embeddings import Embeddings
from store.settings import Settings


@dataclass(frozen=True)
class Store:
    """Everything that is stored. Open one in each process, after any fork."""

    settings: Settings
    database: Database
    embeddings: Embeddings
    artifacts: Artifacts

    @classmethod
    def open(cls, settings: Settings, *, migrate: bool = False) -> "Store":
        """Open the store; with `migrate`, create it or bring its schema up to date first."""
        if migrate:
            settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        database = Database(settings.database)
        embeddings = Embeddings(settings)
        if migrate:
            database.migrate()
            embeddings.create()
        artifacts = Artifacts(settings.storage, settings.home / "cache" / "artifacts")
        return cls(settings, database, embeddings, artifacts)

    def close(self) -> None:
        """Commit all submitted writes and close the files."""
        self.database.close()
        self.embeddings.close()
