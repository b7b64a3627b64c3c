"""Measures a stock Label Studio, which can't call Apprentice: how soon it notices, at what cost."""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from backend.demo.run import DemoSession
from backend.demo.textiles import TEXTILES
from benchmarks.support.harness import Options, at_rest, new_project, prepared, wait
from benchmarks.support.proxy import CountingProxy, ProxiedLabelStudio
from benchmarks.support.report import ENVIRONMENT, Bar, Outcome, spread
from benchmarks.system.loop import OUTBOUND, bars, label_by_label
from store.predictions.shortlists import get_shortlist
from store.versions.versions import HEAD

LABELS = 40
DELETIONS = 5
PACE = 5.0  # seconds from one label to the next
IDLE_SECONDS = 180.0
CALM_SECONDS = 150.0  # after the last label, until nobody counts as labelling
LOOK = 0.02  # seconds between two looks into the store


@dataclass
class Spent:
    """The seconds of Label Studio's time that our calls took in a while."""

    proxy: CountingProxy
    began: float = field(default_factory=time.monotonic)
    before: dict[str, float] = field(default_factory=dict)
    calls_before: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.before, self.calls_before = self.proxy.snapshot()

    def share(self) -> tuple[float, dict[str, str]]:
        """The share in percent, and the dearest calls."""
        wall = time.monotonic() - self.began
        seconds, calls = self.proxy.snapshot()
        used = {name: value - self.before.get(name, 0.0) for name, value in seconds.items()}
        calls.subtract(self.calls_before)
        dearest = sorted(used.items(), key=lambda item: -item[1])[:6]
        top = {n: f"{value:.2f} s in {calls[n]} calls" for n, value in dearest if calls[n]}
        return 100 * sum(used.values()) / wall, top


def run(options: Options) -> Outcome:
    """Connect, rest, label, delete; every call of Apprentice passes a proxy that counts."""
    labels, quick = options.count(LABELS, 6), options.quick
    with prepared() as home:
        session = DemoSession(
            home, ENVIRONMENT, dataset=TEXTILES, images=options.count(400, 60), stock=True
        )
        port = session.label_studio.port
        session.label_studio = ProxiedLabelStudio(
            session.home / "label-studio", ENVIRONMENT, port=port, stock=True
        )
        with session:
            wait(lambda: at_rest(session), "all images are embedded", 300)
            proxy = session.label_studio.proxy
            assert proxy is not None, "it was started"
            connected = _connect(session)
            wait(lambda: at_rest(session), "nothing is wanted", 300)
            idle, idle_calls = _rest(proxy, 5.0 if quick else IDLE_SECONDS)
            busy = Spent(proxy)
            known, chosen = _label(session, labels)
            share, calls = busy.share()
            served = session.served
            answers = label_by_label(session, options.count(LABELS, 6))
            time.sleep(1.0 if quick else CALM_SECONDS)
            deleted = _delete(session, DELETIONS)
    paced = f"{labels} labels, one each {PACE:g} s: the last to be known"
    found = [
        Bar("stock Label Studio, `apprentice connect`", "most", 5, connected, "s"),
        Bar(paced, "most", 5, max(known), "s"),
        Bar(f"{DELETIONS} deletions known", "most", 30, deleted, "s"),
        Bar(
            "tasks handed out that were chosen and pushed",
            "exactly",
            100,
            100 * chosen / labels,
            "%",
            f"Label Studio shows {served.name if served and served.kind == HEAD else 'none'}",
        ),
        Bar("share of Label Studio's time while labelling", "most", 10, share, "%"),
        Bar("share of Label Studio's time while nobody labels", "most", 0.5, idle, "%"),
        *bars("outbound: annotation saved → suggestion readable", answers.taken, OUTBOUND),
    ]
    return Outcome(
        found,
        {
            "seconds until a label is known": spread(known),
            "the dearest calls while labelling": calls,
            "the dearest calls while nobody labels": idle_calls,
            **answers.facts,
        },
    )


def _connect(session: DemoSession) -> float:
    """Connect another project by the command; the seconds."""
    info, _ = new_project(session, "Another", 20, seed=2)
    environment = os.environ | {
        "APPRENTICE_HOME": str(session.settings.home),
        "APPRENTICE_PORT": str(session.settings.port),
        "LABEL_STUDIO_URL": session.label_studio.url,
        "LABEL_STUDIO_API_KEY": session.label_studio.token,
    }
    for_project = ["--project", str(info.id)]
    command = [sys.executable, "-m", "backend.cli"]
    began = time.monotonic()
    subprocess.run([*command, "connect", *for_project], env=environment, check=True)
    taken = time.monotonic() - began
    subprocess.run([*command, "disconnect", *for_project], env=environment, check=True)
    return taken


def _rest(proxy: CountingProxy, seconds: float) -> tuple[float, dict[str, str]]:
    spent = Spent(proxy)
    time.sleep(seconds)
    return spent.share()


def _label(session: DemoSession, labels: int) -> tuple[list[float], int]:
    """Label at a person's pace; the seconds until each label is known, and how many were chosen."""
    saved: list[float] = []
    known: list[float] = []
    chosen = 0

    def watch() -> None:
        while len(known) < labels:
            while len(known) < session.labels:
                known.append(time.monotonic())
            time.sleep(LOOK)

    thread = threading.Thread(target=watch, name="watch")
    thread.start()
    for _ in range(labels):
        began = time.monotonic()
        with session.store.database.read() as db:
            shortlist = set(get_shortlist(db, session.project.id))
        (item,) = session.label(1)
        saved.append(time.monotonic())
        chosen += item.task in shortlist
        time.sleep(max(began + PACE - time.monotonic(), 0.0))
    thread.join(60)
    return [later - before for later, before in zip(known, saved, strict=True)], chosen


def _delete(session: DemoSession, count: int) -> float:
    """Delete annotations; the seconds until all deletions are known."""
    studio, before = session.studio, session.labels
    annotated = (t for t in studio.changed_tasks(session.project.ls_id, None) if t.annotations)
    for task, _ in zip(annotated, range(count), strict=False):
        studio.delete_annotation(task.annotations[0].id)
    return wait(lambda: session.labels == before - count, "the deletions are known", 120)
