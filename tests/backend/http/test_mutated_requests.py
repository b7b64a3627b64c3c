"""The fast part of `python -m benchmarks requests`: mutated requests cause no fault of ours."""

import asyncio
import random

import pytest

from backend.http.server import HEADER_BYTES
from benchmarks.hostile.mutations import RawRequest, mutate, valid_requests
from benchmarks.hostile.raw_client import NoAnswerError, RawClient
from store.tasks.annotations import current_annotations
from tests.support.web import Running, add_project, add_tasks, serve_version

REQUESTS = 400


async def statuses(web: Running, requests: list[RawRequest]) -> list[tuple[int, RawRequest]]:
    client = RawClient(str(web.http.base_url.host), web.http.base_url.port or 0)
    answered = []
    for request in requests:
        try:
            answered.append((await client.send(request), request))
        except NoAnswerError:
            answered.append((0, request))
    client.close()
    return answered


@pytest.mark.parametrize("seed", [1, 2])
def test_mutated_requests_are_answered_and_no_secret_is_logged(web, capfd, seed):
    project = add_project(web.store)
    add_tasks(web.store, project, range(1, 20), embedded=True)
    serve_version(web.store, project)
    rng, valid = random.Random(seed), valid_requests(web.connection.secret)
    requests = [mutate(rng, valid, web.connection.secret) for _ in range(REQUESTS)]
    answered = asyncio.run(statuses(web, requests))
    assert [request for status, request in answered if status == 500] == []
    unanswered = [request for status, request in answered if status == 0]
    # Only headers without an end cost a connection.
    assert all(len(request.to_bytes()) > HEADER_BYTES for request in unanswered)
    assert {200, 400, 403, 404, 405} <= {status for status, _ in answered}
    shown = "".join(capfd.readouterr())
    assert web.connection.secret not in shown
    assert "Traceback" not in shown
    assert web.http.get("/health").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"job":"\\ud800"}',
        b'{"job":"' + b"9" * 5_000 + b'"}',
        b'{"job":' + b"9" * 400 + b"}",
        b'{"job":1e400}',
        b'{"job":NaN}',
    ],
)
def test_what_once_was_a_500_is_none(web_module, body):
    headers = {"Host": "localhost", "Content-Type": "application/json"}
    answered = asyncio.run(
        statuses(web_module, [RawRequest("POST", "/job_status", headers, body)] * 2)
    )
    assert {status for status, _ in answered} <= {400, 410}


@pytest.mark.parametrize("key", ["lead_time", "id", "completed_by", "parent_prediction", "project"])
def test_a_number_of_400_digits_loses_no_other_annotation(web, project, key):
    headers = {"Host": "localhost", "Content-Type": "application/json"} | web.secret
    (body,) = [
        body
        for method, path, body in valid_requests("")
        if path == "/webhook" and body["action"] == "ANNOTATIONS_CREATED"
    ]
    good, *_ = body["annotation"]
    odd = good | {"id": 2, "task": 2, key: 10**400}
    answer = web.http.post("/webhook", json=body | {"annotation": [odd, good]}, headers=headers)
    assert answer.status_code == 200
    web.app.state.app_state.inbox.wait_until_applied(30)
    with web.store.database.read() as db:
        stored = {row.ls_id for row in current_annotations(db, 1)}
    assert 1 in stored
