"""The route /metrics for Prometheus."""

from fastapi import APIRouter
from fastapi.responses import Response

from backend.dependencies import AppStateDep
from backend.http.prometheus import CONTENT_TYPE_LATEST

router = APIRouter()


@router.get("/metrics", include_in_schema=False)
async def metrics(app_state: AppStateDep) -> Response:
    """All metrics in Prometheus' text format."""
    return Response(
        app_state.metrics.expose(await app_state.system_status()),
        headers={"Content-Type": CONTENT_TYPE_LATEST},
    )
