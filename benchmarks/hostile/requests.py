"""Attacks the web process with 100,000 mutated requests to all endpoints, by eight seeds.

Among them are large and dense bodies: a million null tasks, and what takes most memory once parsed.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from urllib.parse import urlsplit

from benchmarks.hostile.mutations import RawRequest, mutate, valid_requests
from benchmarks.hostile.raw_client import NoAnswerError, RawClient
from benchmarks.hostile.target import Target, target
from benchmarks.support.harness import Options
from benchmarks.support.report import Bar, Outcome, percentile, spread

SEEDS = 8
REQUESTS = 100_000
LARGE_EVERY = 2_000  # requests
UNANSWERED = 0  # counted as this status


def run(options: Options) -> Outcome:
    """Attack, and report what the web process did meanwhile."""
    count = options.count(REQUESTS, 4_000) // SEEDS
    with target() as attacked:
        began = time.monotonic()
        with attacked.watched():
            statuses = asyncio.run(_attack(attacked, count))
        seconds = time.monotonic() - began
        log_mb = attacked.log.stat().st_size / 1e6
        told = attacked.told_secrets()
    sent = sum(statuses.values())
    return Outcome(
        [
            Bar("answers 500", "exactly", 0, statuses[500], "answers", f"of {sent} requests"),
            Bar("tokens and secrets in the log", "exactly", 0, told, "times"),
            Bar("memory of the web process, most", "most", 400, max(attacked.memory_mb), "MB"),
            Bar("/health meanwhile, p99", "most", 100, percentile(attacked.health_ms, 0.99), "ms"),
            Bar("log", "most", 20, log_mb, "MB"),
        ],
        {
            "by status (0: connection closed)": dict(sorted(statuses.items())),
            "requests a second": round(sent / seconds),
            "/health, ms": spread(attacked.health_ms),
            "memory, MB": spread(attacked.memory_mb),
        },
    )


async def _attack(attacked: Target, count: int) -> Counter[int]:
    attacks = (_seed(attacked, seed, count) for seed in range(SEEDS))
    return sum(await asyncio.gather(*attacks), Counter[int]())


async def _seed(attacked: Target, seed: int, count: int) -> Counter[int]:
    rng, valid = random.Random(seed), valid_requests(attacked.secret)
    address = urlsplit(attacked.url)
    client = RawClient(address.hostname or "", address.port or 0)
    statuses: Counter[int] = Counter()
    for number in range(count):
        if number % LARGE_EVERY == seed * (LARGE_EVERY // SEEDS):
            request = large_request(rng, attacked.secret)
        else:
            request = mutate(rng, valid, attacked.secret)
        try:
            statuses[await client.send(request)] += 1
        except NoAnswerError:
            statuses[UNANSWERED] += 1
    client.close()
    return statuses


def large_request(rng: random.Random, secret: str) -> RawRequest:
    """A request whose body is large, or takes much memory once it is parsed."""
    units = (b"null,", b"{},", b"[],", b'{"a":1},', b'"ab",', b"1.5,", b"9999999999,", b" ")
    unit, size = rng.choice(units), rng.choice((1, 5, 20, 49, 60)) * 1_000_000
    items = unit * (size // len(unit))
    wide = '"😀",'.encode() if rng.random() < 0.3 else b""
    project = b'"project":"5.1795490554"'
    path, body = rng.choice(
        (
            ("/predict", b"{" + project + b',"tasks":[' + wide + items + b"null]}"),
            ("/webhook", b'{"action":"ANNOTATIONS_CREATED","annotation":[' + items + b"1]}"),
            ("/setup", b"{" + project + b',"schema":"' + b"a" * size + b'"}'),
            ("/api/v1/projects/1/train", b'{"kind":[' + items + b"1]}"),
        )
    )
    headers = {"Host": "localhost", "Content-Type": "application/json"}
    return RawRequest("POST", path, headers | {"X-Apprentice-Secret": secret}, body)
