"""The base class of all calls, and checks of answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from studio.errors import StudioNonsense, StudioNotFound, StudioRejected
from studio.http import StudioHttp


class Calls:
    """A group of calls over one `StudioHttp`."""

    def __init__(self, http: StudioHttp) -> None:
        self.http = http


@contextlib.contextmanager
def missing_project(project: int | None) -> Iterator[None]:
    """Raise StudioNotFound where a list filtered by a project that does not exist answers 400."""
    try:
        yield
    except StudioRejected as exc:
        if project is not None and exc.status == 400 and "valid choice" in str(exc):
            raise StudioNotFound(f"there is no project {project}", status=400) from exc
        raise


def as_list(body: Any, what: str) -> list[Any]:
    """The items of an answer that is a list, or a page of one."""
    if isinstance(body, dict):
        body = body.get("results")
    if not isinstance(body, list):
        raise StudioNonsense(f"Label Studio did not answer with a list of {what}: {body!r:.300}")
    return body


def as_object(body: Any, what: str) -> dict[str, Any]:
    """An answer that is an object."""
    if not isinstance(body, dict):
        raise StudioNonsense(f"Label Studio did not answer with {what}: {body!r:.300}")
    return body
