"""Answers /webhook: checks the secret and the event, and appends it to the inbox.

An annotator waits for the answer, so it waits for the disk alone: the drainer applies the event to
the database, and everything else that follows from it is left to jobs.
"""

import asyncio
import time
from typing import Any

import structlog
from fastapi import Request

from backend.app_state import AppState
from backend.http.request_bodies import (
    INLINE_BODY,
    RequestError,
    parse_record,
    read_raw_object,
)
from backend.protocol import start_training
from services.connections.registration import SECRET_HEADER
from services.sync.webhook_events import read_event
from store.inbox.inbox import Delivery
from studio.records.projects import ProjectPayload
from studio.records.webhooks import START_TRAINING, read_action

log = structlog.get_logger()

UNTRUSTED_BODY = 2_000_000  # bytes read from a caller without the secret

REFUSED = (
    f"the header {SECRET_HEADER} is wrong or missing, or the connection is unknown: run "
    "`apprentice connect` again, or wait a minute until the webhook is repaired"
)


async def apply(app_state: AppState, request: Request) -> dict[str, Any]:
    """Accept the request's event, or start training where that is its action.

    Returns:
        The answer's body.

    Raises:
        RequestError: 400, the body is malformed; 401, the secret or the credentials are wrong.
    """
    connection, trusted = await app_state.check_secret(request, request.headers.get(SECRET_HEADER))
    if connection is None:
        # The same answer as for a wrong secret: strangers are not told which connections there are.
        log.warning("webhook refused", reason="unknown connection")
        app_state.metrics.webhooks.labels("other", "refused").inc()
        raise RequestError(401, REFUSED)
    limit = None if trusted else UNTRUSTED_BODY
    raw, body = await read_raw_object(request, app_state.bulk_pool, limit=limit)
    if body.get("action") == START_TRAINING:
        # Sent like /predict: with the backend's credentials, never with the webhook's header.
        if not (trusted or request.state.authenticated):
            raise RequestError(401, REFUSED)
        ref = parse_record(ProjectPayload.of_webhook, body).ref
        return {"job": await start_training.start(app_state, connection.id, ref)}
    if not trusted:
        log.warning("webhook refused", connection=connection.id, reason="wrong or missing secret")
        app_state.metrics.webhooks.labels(_metric_action(body), "refused").inc()
        raise RequestError(401, REFUSED)
    if len(raw) <= INLINE_BODY:
        event = parse_record(read_event, body)
    else:
        event = await app_state.bulk_pool.run(parse_record, read_event, body)
    if event is None:
        app_state.metrics.webhooks.labels("other", "ignored").inc()
        return {"status": "ignored: no use for this action"}
    delivery = Delivery(connection.id, raw, time.time())
    await asyncio.wrap_future(app_state.inbox.submit(delivery))
    return {"status": "accepted"}


def _metric_action(body: dict[str, Any]) -> str:
    try:
        return read_action(body) or "other"
    except ValueError:
        return "other"
