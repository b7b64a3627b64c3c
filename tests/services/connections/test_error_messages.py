"""Why Label Studio doesn't reach us, by its own words; what says nothing of that is raised."""

import pytest

from services.connections.error_messages import backend_unreached, webhook_unreached
from studio.errors import (
    StudioError,
    StudioNotFound,
    StudioRejected,
    StudioUnauthorized,
    StudioUnreachable,
)

URL = "http://localhost:9090"


@pytest.mark.parametrize(
    ("error", "backend", "webhook"),
    [
        (
            StudioRejected("403, URL resolves to a reserved network address", status=403),
            "ML_BLOCK_LOCAL_IP",
            "SSRF_PROTECTION_ENABLED",
        ),
        (
            StudioUnreachable("500, Can't resolve hostname apprentice", status=500),
            "doesn't know the host",
            "doesn't know the host",
        ),
        (StudioRejected("400, Enter a valid URL.", status=400), "valid URL", "with a dot"),
        (StudioRejected("health check failed", status=400), "apprentice up", "health check"),
        (StudioNotFound("404", status=404), "404", "404"),
        (StudioRejected("403, you may not", status=403), "you may not", "you may not"),
        (StudioUnreachable("500, oh", status=500), "500, oh", "500, oh"),
        (StudioUnreachable("504, proxy", status=504), "504", "504"),
    ],
)
def test_reasons(error: StudioError, backend: str, webhook: str) -> None:
    assert backend in backend_unreached(error, URL)
    assert webhook in webhook_unreached(error, URL)


@pytest.mark.parametrize(
    "error",
    [
        StudioUnauthorized("401", status=401),
        StudioUnreachable("no connection"),
        StudioUnreachable("429", status=429),
        StudioRejected("authentication parameters", status=400),
    ],
)
def test_what_says_nothing_of_our_address_is_raised(error: StudioError) -> None:
    for words in (backend_unreached, webhook_unreached):
        with pytest.raises(type(error)):
            words(error, URL)
