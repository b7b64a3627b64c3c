"""The answer of /health, which Label Studio asks for at every turn."""

from starlette.responses import JSONResponse

HEALTH = {"status": "UP", "model_class": "apprentice"}


def health_response() -> JSONResponse:
    """The answer, made from nothing that could be away."""
    return JSONResponse(HEALTH)
