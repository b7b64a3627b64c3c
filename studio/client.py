"""The client of one Label Studio server."""

from __future__ import annotations

from types import TracebackType

from studio.calls.hooks import HookCalls
from studio.calls.importing import ImportCalls
from studio.calls.predictions import PredictionCalls
from studio.calls.projects import ProjectCalls
from studio.calls.tasks import TaskCalls
from studio.calls.views import ViewCalls
from studio.http import StudioHttp
from studio.tokens import TokenMemory


class StudioClient(ProjectCalls, TaskCalls, PredictionCalls, HookCalls, ImportCalls, ViewCalls):
    """All calls to one Label Studio server, synchronous. Safe to share between threads.

    `url` is the server's, with its path prefix if it has one. `token` is a Personal Access Token or
    a legacy token; it is sent to that exact origin only. `timeout` is in seconds, for each of
    connecting, sending and waiting for the next bytes; calls known to be slow take longer.
    `memory` shares access tokens with other processes.
    Every call raises the errors of `studio.errors`; the constructor raises ValueError for an
    impossible URL or token.
    """

    def __init__(
        self, url: str, token: str, timeout: float = 10.0, memory: TokenMemory | None = None
    ) -> None:
        super().__init__(StudioHttp(url, token, timeout, memory))
        self.aliases: tuple[str, ...] = ()  # other addresses by which tasks name its files

    @property
    def url(self) -> str:
        """Label Studio's address."""
        return self.http.url

    @property
    def seconds_spent(self) -> float:
        """Wall-clock seconds that our calls have taken: an upper bound of our cost."""
        return self.http.seconds_spent

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    def __enter__(self) -> StudioClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
