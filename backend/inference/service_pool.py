"""A warm embedder for each backbone that is asked for: projects may have one of their own."""

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

MOST = 3  # backbones kept open; one takes about 100 MB
AGAIN_SECONDS = 30.0  # until a backbone that couldn't be opened is tried again


class EmbeddingServices:
    """The services by backbone, opened when first asked for. Made and used in one event loop."""

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
        """The spaces of the backbones that are open."""
        return sorted(service.space for service in self._services.values())

    async def start(self) -> EmbeddingService:
        """Open the default backbone, and tell the other processes its space.

        Raises:
            BackboneError: it can't be used here.
        """
        service = await self._open(self._default)
        await asyncio.to_thread(self._tell, service.space)
        return service

    async def get(self, backbone: str | None, seconds: float) -> EmbeddingService:
        """The service of that backbone (None: the default), opened within `seconds`.

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
        if error is not None and time.monotonic() - at < AGAIN_SECONDS:
            raise error
        task = self._opening.get(name)
        if task is None:
            task = asyncio.create_task(self._open(name))
            self._opening[name] = task
            task.add_done_callback(lambda done: self._note(name, done))
        return await asyncio.wait_for(asyncio.shield(task), seconds)

    async def close(self) -> None:
        """Stop all; what is waiting is not answered."""
        for task in self._opening.values():
            task.cancel()
        await asyncio.gather(*self._opening.values(), *self._closing, return_exceptions=True)
        for service in self._services.values():
            await service.close()

    async def _open(self, name: str) -> EmbeddingService:
        async with self._turn:  # opening takes every core that it gets
            embedder = await asyncio.to_thread(_warm, self._store, name)
        service = EmbeddingService(embedder, self._store)
        service.start()
        self._services[name] = service
        self._make_room()
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

    def _make_room(self) -> None:
        """Close what was used longest ago, unless somebody waits for it."""
        for name in list(self._services)[:-1]:
            if len(self._services) <= MOST:
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


def _warm(store: Store, backbone: str) -> Embedder:
    """The embedder, warm: the first real image mustn't pay for what is set up at first use."""
    embedder = open_backbone(store, backbone)
    try:
        embedder.embed([embedder.prepare(Image.new("RGB", (640, 480)))])
    except Exception as error:
        embedder.close()
        raise BackboneError(f"the backbone {backbone} doesn't compute here: {error}") from error
    return embedder
