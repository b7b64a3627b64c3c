"""Opens an embedding service per requested backbone, and closes the least recently used."""

import asyncio
import time
from collections import OrderedDict

import structlog
from PIL import Image

from backend.inference.embedding_service import EmbeddingService
from model.embedding import Embedder
from services.embedding.backbones import BackboneError, open_backbone
from store.projects.key_values import EMBEDDING_SPACE
from store.store import Store

log = structlog.get_logger()

MAX_OPEN = 3  # backbones kept open; one takes about 100 MB
RETRY_SECONDS = 30.0  # until a backbone that couldn't be opened is tried again


class EmbeddingServices:
    """Embedding services by backbone, opened on first use; they belong to one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._default = store.settings.backbone
        self._services: OrderedDict[str, EmbeddingService] = OrderedDict()
        self._opening: dict[str, asyncio.Task[EmbeddingService]] = {}
        self._failed: dict[str, tuple[float, BackboneError]] = {}
        self._turn = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def pending(self) -> int:
        """Images accepted and not finished."""
        return sum(service.pending for service in self._services.values())

    @property
    def spaces(self) -> list[str]:
        """The embedding spaces of the open backbones."""
        return sorted(service.space for service in self._services.values())

    async def start(self) -> EmbeddingService:
        """Open the default backbone, and store its space for the other processes.

        Raises:
            BackboneError: it can't be used here.
        """
        service = await self._open(self._default)
        await asyncio.to_thread(self._tell, service.space)
        return service

    async def get(self, backbone: str | None, seconds: float) -> EmbeddingService:
        """The service of a backbone (None: the default), opened within `seconds`.

        Raises:
            BackboneError: it can't be used here.
            TimeoutError: it isn't open yet.
        """
        name = backbone or self._default
        known = self._services.get(name)
        if known is not None:
            self._services.move_to_end(name)
            return known
        at, error = self._failed.get(name, (0.0, None))
        if error is not None and time.monotonic() - at < RETRY_SECONDS:
            raise error
        task = self._opening.get(name)
        if task is None:
            task = asyncio.create_task(self._open(name))
            self._opening[name] = task
            task.add_done_callback(lambda done: self._note(name, done))
        return await asyncio.wait_for(asyncio.shield(task), seconds)

    async def close(self) -> None:
        """Stop all services; waiting requests get no answer."""
        for task in self._opening.values():
            task.cancel()
        await asyncio.gather(*self._opening.values(), *self._closing, return_exceptions=True)
        for service in self._services.values():
            await service.close()

    async def _open(self, name: str) -> EmbeddingService:
        async with self._turn:  # opening takes every core that it gets
            embedder = await asyncio.to_thread(_open_warm, self._store, name)
        service = EmbeddingService(embedder, self._store)
        service.start()
        self._services[name] = service
        self._close_unused()
        log.info("backbone open", space=service.space)
        return service

    def _note(self, name: str, done: "asyncio.Task[EmbeddingService]") -> None:
        del self._opening[name]
        if done.cancelled():
            return
        error = done.exception()
        if isinstance(error, BackboneError):
            log.warning("backbone not opened", reason=str(error))
            self._failed[name] = (time.monotonic(), error)

    def _close_unused(self) -> None:
        """Close the least recently used services that have no waiting requests."""
        for name in list(self._services)[:-1]:
            if len(self._services) <= MAX_OPEN:
                return
            if name != self._default and not self._services[name].pending:
                task = asyncio.create_task(self._services.pop(name).close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    def _tell(self, space: str) -> None:
        with self._store.database.read() as db:
            known = EMBEDDING_SPACE.get(db)
        if known != space:
            self._store.database.write(lambda db: EMBEDDING_SPACE.set(db, space))


def _open_warm(store: Store, backbone: str) -> Embedder:
    """Open an embedder and embed a dummy image: the first real one mustn't wait for the setup."""
    embedder = open_backbone(store, backbone)
    try:
        embedder.embed([embedder.prepare(Image.new("RGB", (640, 480)))])
    except Exception as error:
        embedder.close()
        raise BackboneError(f"the backbone {backbone} doesn't compute here: {error}") from error
    return embedder
