"""A proxy with a certificate of its own, which has a server below a path: as hosters do."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.support.scripted_studio import CERTIFICATE

NOT_PASSED_ON = {"host", "connection", "content-length", "transfer-encoding", "content-encoding"}
METHODS = ["GET", "POST", "PATCH", "DELETE"]


@contextlib.contextmanager
def hosted(upstream: str, prefix: str) -> Iterator[str]:
    """Pass everything below `prefix` on to `upstream`, without it; the URL, with it."""

    async def pass_on(request: Request) -> Response:
        if not request.url.path.startswith(f"{prefix}/"):
            return Response(status_code=404)
        headers = [(k, v) for k, v in request.headers.items() if k not in NOT_PASSED_ON]
        async with httpx.AsyncClient(timeout=60) as client:
            answer = await client.request(
                request.method,
                upstream + request.url.path.removeprefix(prefix),
                params=request.query_params,
                headers=headers,
                content=await request.body(),
            )
        kept = {k: v for k, v in answer.headers.items() if k not in NOT_PASSED_ON}
        return Response(answer.content, answer.status_code, kept)

    config = uvicorn.Config(
        Starlette(routes=[Route("/{path:path}", pass_on, methods=METHODS)]),
        host="127.0.0.1",
        port=0,
        log_config=None,
        access_log=False,
        ssl_certfile=str(CERTIFICATE),
        ssl_keyfile=str(CERTIFICATE.with_name("key.pem")),
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="reverse proxy", daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"https://localhost:{server.servers[0].sockets[0].getsockname()[1]}{prefix}"
    server.should_exit = True
    thread.join()
