"""Measures the share of Label Studio's time that our calls take, at one label each five seconds."""

import time

from backend.demo.run import DemoSession
from backend.demo.textiles import TEXTILES
from benchmarks.support.harness import Options, at_rest, prepared, wait
from benchmarks.support.proxy import ProxiedLabelStudio
from benchmarks.support.report import ENVIRONMENT, Bar, Outcome

PACE = 5.0  # seconds from one label to the next
IMAGES = 1000


def run(options: Options) -> Outcome:
    """Label for `options.minutes`; every call of ours passes through a proxy that counts."""
    minutes = 0.5 if options.quick else options.minutes
    with prepared() as home:
        session = DemoSession(
            home, ENVIRONMENT, dataset=TEXTILES, images=options.count(IMAGES, 100)
        )
        port = session.label_studio.port
        session.label_studio = ProxiedLabelStudio(
            session.home / "label-studio", ENVIRONMENT, port=port
        )
        with session:
            wait(lambda: at_rest(session), "all images are embedded", 300)
            proxy = session.label_studio.proxy
            assert proxy is not None, "it was started"
            first = proxy.total
            seconds_before, calls_before = proxy.snapshot()
            began = time.monotonic()
            labelled = session.label(round(minutes * 60 / PACE), pace=PACE)
            wall = time.monotonic() - began
            seconds, calls = proxy.snapshot()
    used = {name: value - seconds_before.get(name, 0.0) for name, value in seconds.items()}
    calls.subtract(calls_before)
    spent = sum(used.values())
    top = {
        name: f"{spent_here:.1f} s in {calls[name]} calls"
        for name, spent_here in sorted(used.items(), key=lambda item: -item[1])[:8]
        if calls[name]
    }
    return Outcome(
        [
            Bar(
                f"Label Studio's time taken by our calls over {wall / 60:.0f} minutes",
                "most",
                10,
                100 * spent / wall,
                "%",
                f"{len(labelled)} labels; {spent:.1f} s of calls in {wall:.0f} s",
            )
        ],
        {"the dearest calls": top, "before that, for the first embedding, s": round(first, 1)},
    )
