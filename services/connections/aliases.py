"""Finds out under which other addresses a Label Studio's tasks name its own files."""

from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy import Connection

from services.connections.clients import image_policy
from store.projects.connections import connection_aliases
from store.store import Store
from store.tasks.embedding_queue import retry_images
from studio.client import StudioClient
from studio.images.aliases import possible_alias, without_alias
from studio.images.loader import ImageLoader
from studio.images.policy import ImageError

TRY_SECONDS = 3.0
MOST_TRIES = 5  # of one finder


class AliasFinder:
    """Tries the addresses in images' URIs, each once; what is found is kept with the connection."""

    def __init__(self, store: Store, studio: StudioClient, connection_id: str) -> None:
        self._store = store
        self._studio = studio
        self._connection_id = connection_id
        self._tried: set[str] = set()

    def look(self, images: Iterable[tuple[int, str]]) -> list[str]:
        """Look at images, (task's id, URI); return the aliases that were found just now."""
        found = []
        for task, uri in images:
            alias = possible_alias(uri, self._studio.url)
            if alias is None or alias in self._studio.aliases or alias in self._tried:
                continue
            if len(self._tried) >= MOST_TRIES:
                break
            self._tried.add(alias)
            if self._is_alias(alias, task, uri):
                self._keep(alias)
                found.append(alias)
        return found

    def _is_alias(self, alias: str, task: int, uri: str) -> bool:
        """Whether the image can't be read as it is named, but without the alias."""
        policy = replace(image_policy(self._store.settings), max_seconds=TRY_SECONDS)
        loader = ImageLoader(self._studio, policy)
        try:
            return not _reads(loader, uri, task) and _reads(
                loader, without_alias(uri, [alias]), task
            )
        finally:
            loader.close()

    def _keep(self, alias: str) -> None:
        self._studio.aliases = (*self._studio.aliases, alias)
        key = connection_aliases(self._connection_id)

        def write(db: Connection) -> None:
            key.set(db, [*dict.fromkeys([*(key.get(db) or ()), alias])])
            retry_images(db, self._connection_id, f"{alias}/")

        self._store.database.write(write)


def _reads(loader: ImageLoader, uri: str, task: int) -> bool:
    try:
        loader.fetch(uri, task)
    except ImageError:
        return False
    return True
