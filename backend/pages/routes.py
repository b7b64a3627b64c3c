"""The status page, which reloads itself, and the root URLs that Label Studio calls."""

import asyncio
import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from backend.dependencies import AppStateDep, ConnectionInPath
from backend.http.health import health_response
from backend.views.guests import guest_in_words
from services.reports.ledger_summary import suggestions_in_words

router = APIRouter(include_in_schema=False)

REFRESH_SECONDS = 5
HEADERS = {  # beside those of every answer
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


def ago(then: float | None, now: float) -> str:
    """A time in words: "12 s ago"."""
    if then is None:
        return "never"
    seconds = max(0, int(now - then))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def percent(share: float) -> str:
    """A share in words: "93.1%"."""
    return f"{100 * share:.1f}%"


_pages = Environment(
    loader=PackageLoader("backend.pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_pages.filters["percent"] = percent


def render_status(**values: Any) -> str:
    """The status page's HTML."""
    now = time.time()
    page = _pages.get_template("status.html")
    return page.render(
        ago=lambda then: ago(then, now),
        suggestions_in_words=suggestions_in_words,
        guest_in_words=guest_in_words,
        refresh=REFRESH_SECONDS,
        **values,
    )


@router.get("/")
async def root(request: Request, app_state: AppStateDep) -> Response:
    """The status page for people; /health's answer for Label Studio."""
    if "text/html" not in request.headers.get("accept", ""):
        return health_response()
    status, inference = await asyncio.gather(
        app_state.system_status(), app_state.inference.health()
    )
    html = await app_state.page_pool.run(
        render_status, status=status, inference=inference is not None, url=app_state.settings.url
    )
    return HTMLResponse(html, headers=HEADERS)


@router.post("/")
async def root_posted() -> JSONResponse:
    """The health check of older versions of Label Studio."""
    return health_response()


@router.api_route("/c/{connection_id}", methods=["GET", "POST"])
async def connection_root(_connection: ConnectionInPath) -> JSONResponse:
    """The URL that is registered in Label Studio."""
    return health_response()
