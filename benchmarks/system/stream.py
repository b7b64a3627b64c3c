"""Checks that Label Studio hands out the chosen tasks in order, to one annotator and to three.

Each annotator takes the next task, looks at it, and labels it with the truth. Three of them begin a
second after one another and keep that distance, so that each has a task open while others ask.
"""

import contextlib
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import select

from backend.demo.annotator import true_name
from backend.demo.run import DemoSession
from backend.demo.sign_in import make_token, sign_up
from benchmarks.support.harness import Options, demo, region
from benchmarks.support.report import Bar, Outcome
from store.database.schema import selection, version
from store.versions.versions import version_name
from studio.client import StudioClient

LOOK = 2.0  # seconds that an annotator has a task open
STAGGER = 1.0  # seconds between two annotators


@dataclass(frozen=True)
class Handed:
    """A task that `next` gave, and the versions that Label Studio knew before and after."""

    task: int
    before: str
    after: str


@dataclass
class Team:
    """Annotators at work until so many labels are made."""

    session: DemoSession
    labels: int
    handed: list[Handed] = field(default_factory=list)
    ended: bool = False  # there was no task left
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _errors: list[BaseException] = field(default_factory=list)

    def work(self, clients: list[StudioClient]) -> None:
        """Label; the first error of an annotator is raised."""
        look = LOOK if len(clients) > 1 else 0.0
        threads = [
            threading.Thread(target=self._annotate, args=(client, number * STAGGER, look))
            for number, client in enumerate(clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _annotate(self, client: StudioClient, offset: float, look: float) -> None:
        try:
            time.sleep(offset)
            while self._next(client, look):
                self.session.check()
        except BaseException as error:
            self._errors.append(error)

    def _next(self, client: StudioClient, look: float) -> bool:
        project = self.session.project.ls_id
        with self._lock:  # nobody else asks between the two looks at the version
            if len(self.handed) >= self.labels or self._errors:
                return False
            before = client.get_project(project).model_version
            task = client.next_task(project)
            after = client.get_project(project).model_version
            if task is None:
                self.ended = True
                return False
            self.handed.append(Handed(task.id, before, after))
        time.sleep(look)
        label = self.session.truth[true_name(str(task.data["image"]))]
        client.create_annotation(task.id, [region(label)], lead_time=look or 1.0)
        return True


@contextlib.contextmanager
def annotators(session: DemoSession, count: int) -> Iterator[list[StudioClient]]:
    """Clients of so many users of the demo's Label Studio, the admin among them."""
    with contextlib.ExitStack() as stack:
        clients = [session.studio]
        url = session.label_studio.url
        for number in range(1, count):
            email, password = f"annotator-{number}@example.com", secrets.token_urlsafe(12)
            sign_up(url, email, password)
            client = StudioClient(url, make_token(url, email, password), 60.0)
            clients.append(stack.enter_context(client))
        yield clients


def chosen_ranks(session: DemoSession) -> dict[tuple[str, int], int]:
    """{(version, task): its place in what was chosen for that version}."""
    query = (
        select(version.c.number, selection.c.task_ls_id, selection.c.id)
        .join(version, version.c.id == selection.c.version_id)
        .where(selection.c.project_id == session.project.id)
    )
    with session.store.database.read() as db:
        return {(version_name(row[0]), row[1]): row[2] for row in db.execute(query)}


def shares(handed: list[Handed], chosen: dict[tuple[str, int], int]) -> tuple[float, float]:
    """The shares of the tasks that were chosen, and that came in order, of what was handed out.

    A task that was handed out while the version changed may be of either; its place isn't looked
    at.
    """
    inside = in_order = 0
    last: dict[str, int] = {}
    for item in handed:
        places = [
            chosen[name, item.task]
            for name in (item.before, item.after)
            if (name, item.task) in chosen
        ]
        inside += bool(places)
        if item.before != item.after:
            in_order += bool(places)
        elif places:
            in_order += places[0] > last.get(item.before, -1)
            last[item.before] = places[0]
    return inside / len(handed), in_order / len(handed)


def run(options: Options) -> Outcome:
    """200 labels by one annotator, and by three."""
    labels = options.count(200, 12)
    bars, facts = [], {}
    for count, name in ((1, "one annotator"), (3, "three annotators")):
        with demo(options.count(400, 60)) as session, annotators(session, count) as clients:
            team = Team(session, labels)
            team.work(clients)
            inside, in_order = shares(team.handed, chosen_ranks(session))
        bars += [
            Bar(f"handed out was chosen, {name}", "exactly", 100, 100 * inside, "%"),
            Bar(f"in the order of the choice, {name}", "exactly", 100, 100 * in_order, "%"),
        ]
        tasks = [item.task for item in team.handed]
        facts[name] = {
            "handed out": len(tasks),
            "different tasks": len(set(tasks)),
            "versions": len({item.after for item in team.handed}),
        }
    return Outcome(bars, facts)
