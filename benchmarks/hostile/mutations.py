"""Mutates requests: valid ones of every endpoint, with a few things wrong in each."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

SECRET = "X-Apprentice-Secret"
CONFIG = (
    '<View><Image name="image" value="$image"/><Choices name="kind" toName="image">'
    '<Choice value="cat"/><Choice value="dog"/></Choices></View>'
)
CREATED = 1795490554
ANNOTATION = {
    "id": 1,
    "task": 1,
    "result": [
        {
            "id": "a",
            "type": "choices",
            "from_name": "kind",
            "to_name": "image",
            "value": {"choices": ["cat"]},
        }
    ],
    "completed_by": 1,
    "was_cancelled": False,
    "ground_truth": False,
    "lead_time": 1.5,
    "created_at": "2026-11-24T03:22:37.435790Z",
    "updated_at": "2026-11-24T03:22:37.435790Z",
}
TASK = {"id": 1, "data": {"image": "http://images/1.jpg"}}
PROJECT = {
    "id": 5,
    "created_at": "2026-11-24T03:22:34Z",
    "title": "Pets",
    "label_config": CONFIG,
}

# What JSON may hold and no program expects.
VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    2**31,
    2**63,
    10**400,
    1e308,
    -0.0,
    "",
    "\ud800",
    "\0",
    "😀" * 50,
    "../../etc/passwd",
    "' OR 1=1 --",
    "<View/>",
    "<View><Choices/></View>",
    "<!DOCTYPE a [<!ENTITY b 'c'>]><View>&b;</View>",
    "<View>" * 500,
    "9" * 400,
    "5.1795490554",
    "NaN",
    "a" * 20_000,
    [],
    [None] * 300,
    [[[[[[]]]]]],
    {},
    {"id": None},
    {"": {"": {"": []}}},
    {"__proto__": {"a": 1}, "constructor": 1},
)
BYTES = (b"\0", b"\xff", b"\xed\xa0\x80", b"{", b"]", b'"', b"\\", b"NaN", b"1e999", b"[" * 150)
HOSTS = (
    "localhost",
    "127.0.0.1:9090",
    "evil.example",
    "",
    "a" * 300,
    "[::1",
    "x:y",
    "é",
    "a.local",
)
ORIGINS = ("null", "http://evil.example", "http://localhost", "http://", "x", "http://[")
TYPES = ("text/plain", "", "application/json; charset=utf-16", "multipart/form-data", "a/b+json")
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW")


@dataclass(frozen=True)
class RawRequest:
    """A request as it is sent; `body` has no length of its own."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def to_bytes(self) -> bytes:
        """The request on the wire, HTTP/1.1."""
        lines = [
            f"{self.method} {self.path} HTTP/1.1",
            *(f"{k}: {v}" for k, v in self.headers.items()),
        ]
        head = "\r\n".join(lines).encode("utf-8", "surrogateescape")
        return head + f"\r\nContent-Length: {len(self.body)}\r\n\r\n".encode() + self.body


def valid_requests(secret: str) -> list[tuple[str, str, Any]]:
    """(method, path, body) of all endpoints; a webhook's headers come with `mutate`."""
    uid = f"5.{CREATED}"
    hook = {"project": PROJECT}
    below = [
        ("GET", "/health", None),
        ("POST", "/setup", {"project": uid, "schema": CONFIG, "access_token": secret}),
        ("POST", "/predict", {"project": uid, "label_config": CONFIG, "tasks": [TASK] * 3,
                              "params": {"context": None}}),
        ("GET", "/versions", None),
        ("POST", "/train", {"project": uid, "annotations": []}),
        ("POST", "/job_status", {"job": "learn-1-g1"}),
        ("POST", "/webhook", hook | {"action": "START_TRAINING"}),
        ("POST", "/webhook", hook | {"action": "ANNOTATION_CREATED", "annotation": ANNOTATION,
                                     "task": TASK}),
        ("POST", "/webhook", hook | {"action": "ANNOTATIONS_CREATED",
                                     "annotation": [ANNOTATION] * 3, "task": [TASK] * 3}),
        ("POST", "/webhook", hook | {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 1}]}),
        ("POST", "/webhook", hook | {"action": "TASKS_DELETED", "tasks": [{"id": 1}]}),
        ("POST", "/webhook", hook | {"action": "PROJECT_UPDATED"}),
    ]  # fmt: skip
    api = "/api/v1/projects/1"
    own = [
        ("GET", path, None)
        for path in ("/", "/metrics", "/api/v1/status", "/api/v1/projects", "/api/v1/openapi.json")
    ]
    own += [
        ("GET", f"{api}{path}", None)
        for path in ("", "/status", "/jobs", "/versions", "/annotators", "/labels/suspicious",
                     "/labels/contested", "/ledger", "/similar?task=1&k=5", "/advice", "/accepted")
    ]  # fmt: skip
    own += [
        ("POST", f"{api}/train", {"kind": "head"}),
        ("POST", f"{api}/cancel", None),
        ("POST", f"{api}/rollback", {"version": "v1"}),
        ("POST", f"{api}/promote", {}),
        ("PUT", f"{api}/backbone", {"backbone": "bundled:lite0"}),
        ("PUT", f"{api}/goal", {"accuracy": 0.9, "accept_error": None}),
    ]
    scoped = [(method, f"/c/default{path}", body) for method, path, body in below]
    return [*below, *scoped, *own]


def mutate(rng: random.Random, valid: Sequence[tuple[str, str, Any]], secret: str) -> RawRequest:
    """One of the valid requests with up to three things changed."""
    method, path, body = rng.choice(valid)
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        body = mutate_json(rng, body)
    raw = b"" if body is None else json.dumps(body, allow_nan=True).encode()
    headers = {"Host": "localhost", "Content-Type": "application/json", "Accept": "text/html"}
    if path.endswith("/webhook") and rng.random() < 0.8:
        headers[SECRET] = secret
    request = RawRequest(method, path, headers, raw)
    while rng.random() < 0.4:
        request = rng.choice(CHANGES)(rng, request)
    return request


def mutate_json(rng: random.Random, value: Any) -> Any:
    """The value with one part of it replaced, removed, repeated or put elsewhere."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        others = {name: other for name, other in value.items() if name != key}
        how = rng.random()
        if how < 0.1:
            return others
        if how < 0.2:
            return others | {str(rng.choice(VALUES))[:50]: value[key]}
        return value | {key: mutate_json(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        changed = mutate_json(rng, value[place])
        return rng.choice((value * 3, [*value[:place], changed, *value[place + 1 :]]))
    return rng.choice(VALUES)


def _bytes(rng: random.Random, request: RawRequest) -> RawRequest:
    place = rng.randrange(len(request.body) + 1)
    body = request.body[:place] + rng.choice(BYTES) + request.body[place + rng.randrange(3) :]
    return replace(request, body=rng.choice((body, request.body[:place])))


def _method(rng: random.Random, request: RawRequest) -> RawRequest:
    return replace(request, method=rng.choice(METHODS))


def _path(rng: random.Random, request: RawRequest) -> RawRequest:
    path, _, query = request.path.partition("?")
    odd = ("%00", "%ED%A0%80", "/", "//", "/..", "?task=9&k=-1", "%2e%2e", "/x" * 200, "é", "?%")
    parts = path.split("/")
    parts[rng.randrange(len(parts))] = rng.choice(("", "0", "-1", "9" * 30, "nan", "%ff", "a b"))
    return replace(
        request, path=rng.choice((path + rng.choice(odd), "/".join(parts) or "/", query))
    )


def _header(rng: random.Random, request: RawRequest) -> RawRequest:
    name, values = rng.choice(
        (
            ("Host", HOSTS),
            ("Origin", ORIGINS),
            ("Content-Type", TYPES),
            ("Sec-Fetch-Site", ("cross-site", "same-origin", "x")),
            ("Authorization", ("Basic !", "Bearer x", "Basic YTpi", "")),
            ("X-Forwarded-Host", HOSTS),
            ("X-Forwarded-For", ("1.2.3.4", "x", "::1, 9")),
            ("Transfer-Encoding", ("gzip", "")),
            ("Expect", ("100-continue", "x")),
            ("Upgrade", ("websocket", "h2c")),
            ("Connection", ("close", "upgrade", "keep-alive")),
            (SECRET, ("", "wrong", "é" * 10)),
            ("X", ("a" * 70_000, "\x01")),
        )
    )
    return replace(request, headers=request.headers | {name: rng.choice(values)})


CHANGES: tuple[Callable[[random.Random, RawRequest], RawRequest], ...] = (
    _bytes,
    _method,
    _path,
    _header,
)
