"""A proxy before Label Studio that measures the time of Apprentice's calls.

The time of a call runs from its last byte sent to the last byte of the answer: everything that
Label Studio needs, and everything that the machine makes it wait.
"""

import asyncio
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from backend.demo.label_studio import HOST, LabelStudioServer
from studio.client import StudioClient

NUMBER = re.compile(r"\d+")
HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"}
METHODS = ["GET", "POST", "PATCH", "PUT", "DELETE", "HEAD"]
TIMEOUT = 600.0  # seconds


class CountingProxy:
    """Runs in a thread of its own. `seconds` and `calls`, by method and path."""

    def __init__(self, upstream: str) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()
        self._upstream = upstream
        self._lock = threading.Lock()
        app = Starlette(routes=[Route("/{path:path}", self._pass_on, methods=METHODS)])
        config = uvicorn.Config(app, host=HOST, port=0, log_config=None, access_log=False)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    @property
    def total(self) -> float:
        """Seconds that all calls together took."""
        with self._lock:
            return sum(self.seconds.values())

    def snapshot(self) -> tuple[dict[str, float], Counter[str]]:
        """Seconds and calls so far."""
        with self._lock:
            return dict(self.seconds), Counter(self.calls)

    def start(self) -> str:
        """Start it; its URL."""
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return f"http://localhost:{self._server.servers[0].sockets[0].getsockname()[1]}"

    def stop(self) -> None:
        """Stop it and wait."""
        self._server.should_exit = True
        self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        limits = httpx.Limits(keepalive_expiry=1.0)
        async with httpx.AsyncClient(
            base_url=self._upstream, timeout=TIMEOUT, limits=limits
        ) as client:
            self._client = client
            await self._server.serve()

    async def _pass_on(self, request: Request) -> StreamingResponse:
        body = await request.body()
        headers = [(k, v) for k, v in request.headers.items() if k not in HOP]
        query = request.url.query
        target = request.url.path + (f"?{query}" if query else "")
        outgoing = self._client.build_request(
            request.method, target, headers=headers, content=body or None
        )
        began = time.perf_counter()
        answer = await self._client.send(outgoing, stream=True)

        async def chunks() -> AsyncIterator[bytes]:
            try:
                async for chunk in answer.aiter_raw():
                    yield chunk
            finally:
                await answer.aclose()
                self._count(request, time.perf_counter() - began)

        kept = {k: v for k, v in answer.headers.items() if k not in HOP}
        return StreamingResponse(chunks(), answer.status_code, kept)

    def _count(self, request: Request, seconds: float) -> None:
        path = re.sub(r"/data/upload/.*", "/data/upload/FILE", request.url.path)
        name = f"{request.method} {NUMBER.sub('N', path)}"
        with self._lock:
            self.seconds[name] += seconds
            self.calls[name] += 1


class ProxiedLabelStudio(LabelStudioServer):
    """A Label Studio whose URL, once it runs, is that of the proxy. Annotators go past it."""

    proxy: CountingProxy | None = None
    _proxied: str = ""

    @property
    def url(self) -> str:
        """What Apprentice is told."""
        return self._proxied or self.direct_url

    @property
    def direct_url(self) -> str:
        """Where it really is."""
        return f"http://localhost:{self.port}"

    def client(self, timeout: float = 60.0) -> StudioClient:
        """A client that isn't counted."""
        return StudioClient(self.direct_url, self.token, timeout)

    def start(self) -> None:
        """Start it and the proxy."""
        super().start()
        if self.proxy is None:
            self.proxy = CountingProxy(self.direct_url)
            self._proxied = self.proxy.start()

    def stop(self) -> None:
        """Stop both."""
        if self.proxy is not None:
            self.proxy.stop()
            self.proxy, self._proxied = None, ""
        super().stop()
