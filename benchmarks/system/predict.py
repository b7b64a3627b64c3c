"""Measures the latency of /predict: embedded tasks, one and a thousand, and new images."""

import asyncio
import random

from backend.demo.run import DemoSession
from benchmarks.support.harness import Options, at_rest, demo, photograph, wait
from benchmarks.support.report import Bar, Outcome, percentile, spread
from benchmarks.support.traffic import Bodies, Reply, one_by_one

LABELS = 30
NEW_TASK = 9_000_000  # ids that nobody knows yet


def run(options: Options) -> Outcome:
    """Measure it."""
    count = options.count(1000, 100)
    with demo(count) as session:
        session.label(LABELS)
        session.wait_until_learned(LABELS)
        wait(lambda: at_rest(session), "all images are embedded", 300)
        bodies = Bodies(session, session.project.ls_id)
        tasks = list(bodies.tasks.values())
        chance = random.Random(0)
        picks = [chance.choice(tasks) for _ in range(options.count(300, 20))]
        first = asyncio.run(one_by_one(session, [bodies.predict(tasks)]))[0]
        one = _send(session, [bodies.predict([task]) for task in picks])
        many = _send(session, [bodies.predict(tasks) for _ in range(options.count(12, 4))])
        new = [
            {"id": NEW_TASK + number, "data": {"image": uri}}
            for number, uri in enumerate(upload_images(session, options.count(60, 5)))
        ]
        fresh = _send(session, [bodies.predict([task]) for task in new])
    name = f"/predict, {count:,} tasks in one request"
    return Outcome(
        [
            Bar("/predict, one embedded task, p50", "most", 3, _median(one), "ms"),
            Bar(name, "most", 150, max(r.seconds for r in many) * 1000, "ms", "the slowest"),
            Bar(f"{name}, asked for the first time", "most", 150, first.seconds * 1000, "ms"),
            Bar("/predict, a new 640x480 JPEG, p50", "most", 150, _median(fresh), "ms"),
        ],
        {
            "one embedded task, ms": spread([r.seconds for r in one], 1000),
            "1,000 tasks, ms": spread([r.seconds for r in many], 1000),
            "new image, ms": spread([r.seconds for r in fresh], 1000),
            "bytes of a new image": len(photograph(0)),
        },
    )


def _send(session: DemoSession, calls: list) -> list[Reply]:  # type: ignore[type-arg]
    asyncio.run(one_by_one(session, calls[:2]))
    replies = asyncio.run(one_by_one(session, calls[2:]))
    refused = [r for r in replies if r.status != 200 or b'"result"' not in r.body]
    if refused:
        raise RuntimeError(f"/predict answered {refused[0].status}: {refused[0].body[:300]!r}")
    return replies


def _median(replies: list[Reply]) -> float:
    return percentile([r.seconds for r in replies], 0.5) * 1000


def upload_images(session: DemoSession, count: int) -> list[str]:
    """Put new images into Label Studio, but no tasks: so Apprentice has never seen them."""
    http, project = session.studio.http, session.project.ls_id
    uris = []
    for number in range(count):
        answer = http.call(
            "POST",
            f"/api/projects/{project}/import",
            params={"commit_to_project": "false"},
            files=[("file", (f"photo-{number}.jpg", photograph(number), "image/jpeg"))],
        )
        upload = http.call("GET", f"/api/import/file-upload/{answer['file_upload_ids'][0]}")
        uris.append(f"/data/{upload['file']}")
    return uris
