"""A client of the inference process, for embeddings of new images."""

import asyncio
import base64
import binascii
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from backend.inference.socket_path import socket_path as socket_path
from model.arrays import Float16s

ITEMS = 32  # images in one request to the inference process
REQUESTS = 3  # of them under way for one /predict: more would only wait in its queue
BUSY_PAUSE = 0.1  # seconds until a full queue is tried again


@dataclass(frozen=True)
class Wanted:
    """An image to embed: its URI, and the task that shows it (some URIs need one)."""

    task: int
    uri: str


@dataclass(frozen=True)
class Embedded:
    """An image's key, and its embedding [D] (float16) in `space`."""

    space: str
    key: str
    vector: Float16s


@dataclass(frozen=True)
class Failed:
    """Why there is no embedding; `permanent` when trying again can't help."""

    reason: str
    permanent: bool


class _InferenceError(Exception):
    """The inference process gave no usable answer; `again`: a retry may succeed."""

    def __init__(self, reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.again = again


class InferenceClient:
    """A client of the inference process. Errors are returned as Failed, not raised."""

    def __init__(self, socket: Path) -> None:
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(socket)), base_url="http://inference"
        )

    async def embed(
        self,
        connection_id: str,
        wanted: Sequence[Wanted],
        seconds: float,
        backbone: str | None = None,
    ) -> list[Embedded | Failed]:
        """One outcome for each image, in order, within about `seconds`.

        Args:
            backbone: the backbone's name; None for the default one.
        """
        deadline = time.monotonic() + seconds
        outcomes: list[Embedded | Failed] = [Failed("not started in time", False)] * len(wanted)
        starts = iter(range(0, len(wanted), ITEMS))

        async def work() -> None:
            for start in starts:  # shared: each takes the next one
                part = wanted[start : start + ITEMS]
                outcomes[start : start + ITEMS] = await self._part(
                    connection_id, part, deadline, backbone
                )

        lanes = min(REQUESTS, -(-len(wanted) // ITEMS))
        await asyncio.gather(*(work() for _ in range(lanes)))
        return outcomes

    async def _part(
        self, connection_id: str, part: Sequence[Wanted], deadline: float, backbone: str | None
    ) -> list[Embedded | Failed]:
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return [Failed("not ready in time", False)] * len(part)
            try:
                return await self._ask(connection_id, part, left, backbone)
            except _InferenceError as error:
                if not error.again:
                    return [Failed(str(error), False)] * len(part)
            await asyncio.sleep(min(BUSY_PAUSE, left))

    async def _ask(
        self, connection_id: str, part: Sequence[Wanted], seconds: float, backbone: str | None
    ) -> list[Embedded | Failed]:
        body = {
            "connection": connection_id,
            "items": [{"task": item.task, "uri": item.uri} for item in part],
            "seconds": seconds,
            "backbone": backbone,
        }
        try:
            response = await self._http.post("/embed", json=body, timeout=seconds + 1)
        except httpx.HTTPError as error:
            raise _InferenceError(f"the inference process doesn't answer ({error!r})") from error
        if response.status_code == 503:
            raise _InferenceError("the inference process is busy", again=True)
        try:
            answer = response.json()
            items = answer["items"]
            outcomes = [_outcome(answer.get("space"), item) for item in items]
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
            raise _InferenceError(
                f"the inference process answered {response.status_code} with nonsense"
            ) from error
        if len(outcomes) != len(part):
            raise _InferenceError("the inference process answered for other images")
        return outcomes

    async def health(self) -> dict[str, Any] | None:
        """The process's health response, or None when it doesn't answer."""
        try:
            response = await self._http.get("/health", timeout=1)
            answer = response.json()
        except (httpx.HTTPError, ValueError):
            return None
        return answer if isinstance(answer, dict) else None

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()


def _outcome(space: str, item: dict[str, Any]) -> Embedded | Failed:
    if "error" in item:
        return Failed(str(item["error"]), bool(item["permanent"]))
    vector = np.frombuffer(base64.b64decode(item["vector"], validate=True), "<f2")
    return Embedded(str(space), str(item["key"]), vector)
