"""The answer of /health, which Label Studio asks for at every turn."""

from starlette.responses import JSONResponse

HEALTH = {"status": "UP", "model_class": "apprentice"}


def health_response() -> JSONResponse:
    """The response of /health, which needs neither the store nor the broker."""
    return JSONResponse(HEALTH)
