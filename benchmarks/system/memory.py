"""Measures the idle processes' memory (Pss) and the web process's growth over requests."""

import asyncio
import random
import time

import psutil

from backend.demo.run import DemoSession
from benchmarks.support.harness import Options, at_rest, demo, ours, pss, truths, wait
from benchmarks.support.report import Bar, Outcome
from benchmarks.support.traffic import Bodies, Call, send

LABELS = 30
TOGETHER = 8  # requests under way at a time
NOISE = 10.0  # MB: what an allocator keeps or gives back as it likes


def run(options: Options) -> Outcome:
    """Measure it: Pss is what Linux counts, shared pages divided among those who share them."""
    requests = options.count(20_000, 1_000)
    with demo(options.count(400, 100)) as session:
        session.label(LABELS)
        session.wait_until_learned(LABELS)
        wait(lambda: at_rest(session), "nothing is under way")
        time.sleep(5)
        idle = {_name(process): round(pss(process), 1) for process in ours(session)}
        web = next(process for process in ours(session) if _name(process) == "serve")
        before = pss(web)
        grown = asyncio.run(_pour(session, web, requests))
    warm = grown[0][1]
    end = grown[-1][1]
    half = len(grown) // 2
    return Outcome(
        [
            Bar("memory, idle, web process (Pss)", "most", 250, before, "MB"),
            Bar("memory, idle, all processes (Pss)", "most", 2000, sum(idle.values()), "MB"),
            Bar(
                f"growth of the web process over {requests:,} requests",
                "most",
                NOISE,
                end - warm,
                "MB",
                f"after the first tenth; {end - grown[half][1]:.1f} MB of it in the second half",
            ),
        ],
        {"idle, MB": idle, "web process after so many requests, MB": dict(grown)},
    )


def _name(process: psutil.Process) -> str:
    words = process.cmdline()
    if "backend.cli" in words:
        return " ".join(words[words.index("backend.cli") + 1 :])
    return words[0].rpartition("/")[2] if words else "?"


async def _pour(
    session: DemoSession, web: psutil.Process, requests: int
) -> list[tuple[int, float]]:
    """Health, setup, predict and webhooks in turn; the memory after each tenth."""
    bodies = Bodies(session, session.project.ls_id)
    truth = truths(session, session.project.ls_id)
    tasks = list(truth)
    chance = random.Random(0)

    def call(number: int) -> Call:
        task = chance.choice(tasks)
        kinds = (
            bodies.health,
            bodies.setup,
            lambda: bodies.predict([bodies.tasks[task]]),
            lambda: bodies.annotated(task, truth[task]),
        )
        return kinds[number % 4]()

    async def worker() -> None:
        for number in numbers:
            reply = await send(session, call(number))
            if reply.status != 200:
                raise RuntimeError(f"{reply.name} answered {reply.status}: {reply.body[:200]!r}")

    grown = []
    tenth = requests // 10
    for part in range(10):
        numbers = iter(range(part * tenth, (part + 1) * tenth))
        await asyncio.gather(*(worker() for _ in range(TOGETHER)))
        grown.append(((part + 1) * tenth, round(pss(web), 1)))
    return grown
