"""The store as one object: settings, database, embeddings, artifacts."""

from dataclasses import dataclass

from store.database.engine import Database
from store.files.artifacts import Artifacts
from store.files.embeddings import Embeddings
from store.files.permissions import secure_folder
from store.projects.tokens import move_tokens
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
        """Open the store; with `migrate`, create it or bring its schema up to date first.

        Raises:
            HomeError: the data folder can't be written, or stays open to other users.
        """
        if migrate:
            secure_folder(settings.home)
        database = Database(settings.database)
        embeddings = Embeddings(settings)
        if migrate:
            database.migrate()
            embeddings.create()
            if database.write(move_tokens):
                database.erase_old_pages()
            secure_folder(settings.home)  # the files that were made just now
        artifacts = Artifacts(settings.storage, settings.home / "cache" / "artifacts")
        return cls(settings, database, embeddings, artifacts)

    def close(self) -> None:
        """Commit all submitted writes and close the files."""
        self.database.close()
        self.embeddings.close()
