"""Answers /webhook: checks the secret, stores the event in one transaction, wakes the scheduler.

An annotator waits for the answer, so everything else that follows from an event is left to jobs.
"""

from typing import Any

import structlog
from fastapi import Request

from backend.app_state import AppState
from backend.http.request_bodies import RequestError, parse_record, read_object
from backend.protocol import start_training
from services.connections.registration import SECRET_HEADER
from services.sync.webhook_events import apply_event, read_event
from studio.records.projects import ProjectPayload
from studio.records.webhooks import START_TRAINING, read_action

log = structlog.get_logger()

UNTRUSTED_BODY = 2_000_000  # bytes read from a caller without the secret


async def apply(app_state: AppState, request: Request) -> dict[str, Any]:
    """Store the request's event, or start training where that is its action.

    Returns:
        The answer's body.

    Raises:
        RequestError: 400, the body is malformed; 401, the secret or the credentials are wrong.
    """
    connection, trusted = await app_state.check_secret(request, request.headers.get(SECRET_HEADER))
    if trusted:
        body = await read_object(request, app_state.bulk_pool)
    else:
        body = await read_object(request, app_state.bulk_pool, limit=UNTRUSTED_BODY)
    if body.get("action") == START_TRAINING:
        # Sent like /predict: with the backend's credentials, never with the webhook's header.
        if not (trusted or request.state.authenticated):
            raise RequestError(401, "user and password are wrong or missing")
        ref = parse_record(ProjectPayload.of_webhook, body).ref
        return {"job": await start_training.start(app_state, connection.id, ref)}
    if not trusted:
        log.warning("webhook refused", connection=connection.id, reason="wrong or missing secret")
        app_state.metrics.webhooks.labels(_metric_action(body), "refused").inc()
        raise RequestError(
            401,
            f"the header {SECRET_HEADER} is wrong or missing: run `apprentice connect` again, "
            "or wait a minute until the webhook is repaired",
        )
    return await _apply_event(app_state, connection.id, body)


async def _apply_event(
    app_state: AppState, connection_id: str, body: dict[str, Any]
) -> dict[str, Any]:
    event = parse_record(read_event, body)
    if event is None:
        app_state.metrics.webhooks.labels("other", "ignored").inc()
        return {"status": "ignored: no use for this action"}
    outcome = await app_state.write(lambda db: apply_event(db, connection_id, event))
    app_state.scheduler.wake()
    app_state.metrics.webhooks.labels(event.action, outcome.status.partition(":")[0]).inc()
    log.info(
        "webhook",
        action=event.action,
        project=outcome.project_id,
        changed=outcome.changed,
        outcome=outcome.status,
    )
    return {"status": outcome.status}


def _metric_action(body: dict[str, Any]) -> str:
    try:
        return read_action(body) or "other"
    except ValueError:
        return "other"
