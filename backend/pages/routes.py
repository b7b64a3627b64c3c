"""The status page: one page, rendered here, that looks after itself."""

import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from backend.api.projects import look
from backend.app_state import web_of
from backend.protocol.routes import health_response
from services.reports.ledger_summary import suggestions_in_words

router = APIRouter(include_in_schema=False)

REFRESH_SECONDS = 5
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
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
        refresh=REFRESH_SECONDS,
        **values,
    )


@router.get("/")
async def root(request: Request) -> Response:
    """The status page for people; /health's answer for Label Studio."""
    if "text/html" not in request.headers.get("accept", ""):
        return health_response()
    web = web_of(request)
    status = await look(web)
    inference = await web.inference.health()
    html = await web.bulk.run(
        render_status, status=status, inference=inference is not None, url=web.settings.url
    )
    return HTMLResponse(html, headers=HEADERS)


@router.post("/")
async def root_posted() -> JSONResponse:
    """What old servers call to see whether we are there."""
    return health_response()


@router.api_route("/c/{connection_id}", methods=["GET", "POST"])
@router.api_route("/c/{connection_id}/", methods=["GET", "POST"])
async def connection_root(request: Request) -> JSONResponse:
    """The URL that is registered in Label Studio: there, if the connection is known."""
    await web_of(request).require_connection(request)
    return health_response()
