"""Finds out under which other addresses a Label Studio's tasks name its own files."""

from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy import Connection

from services.connections.clients import image_policy
from store.projects.connections import connection_aliases, other_addresses
from store.store import Store
from store.tasks.embedding_queue import retry_images
from studio.client import StudioClient
from studio.images.aliases import possible_alias, without_alias
from studio.images.loader import ImageLoader
from studio.images.policy import ImageError, PermanentImageError

TRY_SECONDS = 3.0
MOST_TRIES = 5  # of one finder
MOST_OTHERS = 100  # addresses that are kept as no aliases


class AliasFinder:
    """Tries the addresses in images' URIs; what is found is kept with the connection.

    Args:
        again: try also those that were found to be no aliases before.
    """

    def __init__(
        self, store: Store, studio: StudioClient, connection_id: str, *, again: bool = False
    ) -> None:
        self._store = store
        self._studio = studio
        self._connection_id = connection_id
        self._tries = 0
        # Those that need no try; read when there is a first one to be tried.
        self._settled: set[str] | None = set() if again else None

    def look(self, images: Iterable[tuple[int, str]]) -> list[str]:
        """Look at images, (task's id, URI); return the aliases that were found just now."""
        found = []
        for task, uri in images:
            alias = possible_alias(uri, self._studio.url)
            if alias is None or alias in self._studio.aliases or alias in self._read_settled():
                continue
            if self._tries >= MOST_TRIES:
                break
            self._tries += 1
            if self._is_alias(alias, task, uri):
                found.append(alias)
        return found

    def _read_settled(self) -> set[str]:
        if self._settled is None:
            with self._store.database.read() as db:
                self._settled = set(other_addresses(self._connection_id).get(db) or ())
        return self._settled

    def _is_alias(self, alias: str, task: int, uri: str) -> bool:
        """Whether the image can't be read as it is named, but without the alias."""
        self._read_settled().add(alias)
        policy = replace(image_policy(self._store.settings), max_seconds=TRY_SECONDS)
        loader = ImageLoader(self._studio, policy)
        try:
            if _reads(loader, uri, task):
                self._keep_other(alias)
                return False
            loader.fetch(without_alias(uri, [alias]), task)
        except PermanentImageError:
            self._keep_other(alias)
            return False
        except ImageError:  # not known yet
            return False
        finally:
            loader.close()
        self._keep(alias)
        return True

    def _keep(self, alias: str) -> None:
        self._studio.aliases = (*self._studio.aliases, alias)
        key = connection_aliases(self._connection_id)

        def write(db: Connection) -> None:
            key.set(db, [*dict.fromkeys([*(key.get(db) or ()), alias])])
            retry_images(db, self._connection_id, f"{alias}/")

        self._store.database.write(write)

    def _keep_other(self, address: str) -> None:
        key = other_addresses(self._connection_id)
        self._store.database.write(
            lambda db: key.set(db, [*(key.get(db) or ()), address][-MOST_OTHERS:])
        )


def _reads(loader: ImageLoader, uri: str, task: int) -> bool:
    try:
        loader.fetch(uri, task)
    except ImageError:
        return False
    return True
