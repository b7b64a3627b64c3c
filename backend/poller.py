"""Asks Label Studio for changes where no webhook tells them, and requests the sync that reads them.

A thread of the web process. It asks each server in a thread of a small pool, so that one that hangs
delays no other, and it asks only whether something changed: reading is left to the job sync.
"""

import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from backend.scheduler import Scheduler
from services.connections.clients import studio_for
from services.connections.reach import (
    HEARD,
    REACH,
    RECHECK,
    Connectivity,
    Mode,
    connectivity,
    recheck_is_due,
)
from services.publishing.rate_limit import draw_polling
from services.sync.change_watch import ChangeWatch
from services.sync.poll_pace import ACTIVE_SECONDS, PollPace
from services.sync.poll_report import POLL_REPORT, PollReport
from services.sync.settings_watch import SettingsWatch
from services.sync.watched import request_changes
from store.projects.connections import StudioConnection, list_connections
from store.projects.projects import Project, list_projects
from store.store import Store
from store.work import pending_work
from store.work.work_kind import WorkKind
from studio.errors import StudioError, StudioUnreachable

log = structlog.get_logger()

ROUND_SECONDS = 0.2
READ_SECONDS = 1.0  # between two reads of the projects
REPORT_SECONDS = 30.0
SERVERS_AT_ONCE = 8


@dataclass
class _Server:
    """A Label Studio server that is asked, and what became of it."""

    connection: StudioConnection
    watch: ChangeWatch
    settings_watch: SettingsWatch
    pace: PollPace
    projects: dict[int, Project] = field(default_factory=dict)  # by Label Studio's id
    asked: set[int] = field(default_factory=set)  # ids that were asked for before
    changed_at: dict[int, float] = field(default_factory=dict)
    unnoted: set[int] = field(default_factory=set)  # our ids of projects with changed tasks
    unsettled: set[int] = field(default_factory=set)  # and of those with changed settings
    is_back: bool = False  # it answers again after it didn't
    asking: "Future[None] | None" = None
    spent: float = 0.0  # seconds of its time since `reported_at`
    undrawn: float = 0.0  # of these, not yet taken from the rate limit
    reported_at: float = field(default_factory=time.monotonic)

    @property
    def is_due(self) -> bool:
        """Whether to ask it now."""
        return (self.asking is None or self.asking.done()) and (
            time.monotonic() >= self.pace.next_at
        )


class ChangePoller:
    """The thread. Of several web processes, the one that schedules polls."""

    def __init__(self, store: Store, scheduler: Scheduler) -> None:
        self._store = store
        self._scheduler = scheduler
        self._started_at = time.time()
        self._servers: dict[str, _Server] = {}
        self._unusable: dict[str, StudioConnection] = {}
        self._modes: dict[int, Mode] = {}
        self._pool = ThreadPoolExecutor(SERVERS_AT_ONCE, thread_name_prefix="poll")
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poller", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, and wait for the requests under way."""
        self._stopped.set()
        self._thread.join()
        self._pool.shutdown()
        for server in self._servers.values():
            server.watch.studio.close()

    def _run(self) -> None:
        read_at = 0.0
        while not self._stopped.wait(ROUND_SECONDS):
            try:
                if time.monotonic() - read_at >= READ_SECONDS:
                    self._read_projects()
                    read_at = time.monotonic()
                for server in self._servers.values():
                    if server.is_due:
                        server.asking = self._pool.submit(self._ask, server)
            except (SQLAlchemyError, OSError) as error:
                log.warning("polling failed; trying again", error=str(error))
            except Exception:
                log.exception("polling failed")

    # Which projects

    def _read_projects(self) -> None:
        if not self._scheduler.leads:
            self._assign([], {})
            return
        now = time.time()
        with self._store.database.read() as db:
            projects = {project.id: project for project in list_projects(db)}
            reaches, heard = REACH.all(db), HEARD.all(db)
            asked = RECHECK.all(db)
            connections = {item.id: item for item in list_connections(db)}
        found = {
            project_id: connectivity(reach, heard.get(project_id), now)
            for project_id, reach in reaches.items()
            if project_id in projects
        }
        due = [
            project_id
            for project_id, state in found.items()
            if project_id not in asked
            and state.mode is not Mode.INBOUND
            and (
                reaches[project_id].checked_at < self._started_at
                or recheck_is_due(reaches[project_id], state, now)
            )
        ]
        if due:
            self._store.database.write(lambda db: _request_checks(db, due))
            self._scheduler.wake()
        self._note_modes(found)
        polled = [
            projects[project_id]
            for project_id, state in found.items()
            if state.mode.polls and _is_registered(projects[project_id])
        ]
        self._assign(polled, connections)

    def _note_modes(self, found: dict[int, Connectivity]) -> None:
        for project_id, state in found.items():
            before = self._modes.get(project_id)
            if before is not state.mode:
                self._modes[project_id] = state.mode
                log.info("mode", project=project_id, mode=state.mode, reason=state.sentence)

    def _assign(
        self, projects: Iterable[Project], connections: dict[str, StudioConnection]
    ) -> None:
        wanted: dict[str, dict[int, Project]] = {}
        for project in projects:
            wanted.setdefault(project.connection_id, {})[project.ls_id] = project
        for name, server in list(self._servers.items()):
            if wanted.get(name) is None or connections.get(name) != server.connection:
                del self._servers[name]
                self._pool.submit(server.watch.studio.close)
        for name, of_server in wanted.items():
            if name not in self._servers and name in connections:
                self._open(connections[name])
            if name in self._servers:
                self._servers[name].projects = of_server

    def _open(self, connection: StudioConnection) -> None:
        if self._unusable.get(connection.id) == connection:
            return
        try:
            studio = studio_for(self._store, connection.id)
        except ValueError as error:  # no token, or certificates that can't be read
            self._unusable[connection.id] = connection
            log.warning("not polled", connection=connection.id, reason=str(error))
            return
        settings = self._store.settings
        pace = PollPace(fastest=settings.poll_seconds, slowest=settings.poll_idle_seconds)
        self._servers[connection.id] = _Server(
            connection, ChangeWatch(studio), SettingsWatch(studio), pace
        )

    # Asking

    def _ask(self, server: _Server) -> None:
        """Ask a server once, and request a sync of the projects that have changed."""
        projects = server.projects
        read_until = {ls_id: project.tasks_cursor for ls_id, project in projects.items()}
        active = {ls_id for ls_id in projects if self._is_active(server, ls_id)}
        closely = server.pace.looks_closely(time.monotonic())
        studio, least = server.watch.studio, self._store.settings.reconcile_seconds
        before = studio.seconds_spent
        try:
            reset = server.settings_watch.ask(projects, time.monotonic(), least)
            for_settings = studio.seconds_spent - before
            changed = server.watch.ask(read_until, active, closely=closely)
        except StudioError as error:
            if not server.pace.failures:
                log.warning("Label Studio can't be asked for changes", reason=str(error))
            retry_after = error.retry_after if isinstance(error, StudioUnreachable) else None
            server.pace.failed(time.monotonic(), retry_after)
            return
        except Exception:
            log.exception("asking for changes failed")
            server.pace.failed(time.monotonic())
            return
        finally:
            spent = studio.seconds_spent - before
            server.spent += spent
            server.undrawn += spent
        now = time.monotonic()
        server.is_back = server.is_back or server.pace.failures > 0
        labelled = changed & server.asked
        server.asked = set(projects)
        server.changed_at |= dict.fromkeys(labelled, now)
        cost = spent - for_settings
        server.pace.answered(now, cost, changed=bool(labelled), closely=closely)
        server.unnoted |= {projects[ls_id].id for ls_id in changed}
        server.unsettled |= {projects[ls_id].id for ls_id in reset}
        try:
            self._note(server)
        except (SQLAlchemyError, OSError) as error:  # the next time notes it
            log.warning("changes can't be noted; trying again", error=str(error))

    def _is_active(self, server: _Server, ls_id: int) -> bool:
        changed_at = server.changed_at.get(ls_id)
        return changed_at is not None and time.monotonic() - changed_at <= ACTIVE_SECONDS

    def _note(self, server: _Server) -> None:
        elapsed = time.monotonic() - server.reported_at
        is_due = elapsed >= REPORT_SECONDS
        changed, reset, is_back = server.unnoted, server.unsettled, server.is_back
        share = self._store.settings.studio_share
        if not (changed or reset or is_back or is_due):
            return
        projects = [project.id for project in server.projects.values()]
        parts = max(len(projects), 1)
        report = PollReport(
            server.pace.interval(time.monotonic()), server.spent / parts / elapsed, time.time()
        )

        def write(db: Connection) -> None:
            if is_back:  # whatever stopped Label Studio may have changed what it reaches
                pending_work.retry_now(db, server.connection.id)
                _request_checks(db, projects)
            for project_id in reset:
                pending_work.want(db, project_id, WorkKind.SYNC)
            for project_id in changed:
                request_changes(db, project_id)
            for project_id in projects:
                draw_polling(db, project_id, server.undrawn / parts, share)
                if is_due:
                    POLL_REPORT.of(project_id).set(db, report)

        self._store.database.write(write)
        server.unnoted, server.unsettled = set(), set()
        server.is_back, server.undrawn = False, 0.0
        if is_due:
            server.spent, server.reported_at = 0.0, time.monotonic()
        if changed or reset or is_back:
            self._scheduler.wake()


def _is_registered(project: Project) -> bool:
    """Whether the project is ours: connected by a command, or its backend was added by hand."""
    return project.connected_at is not None or project.backend_id is not None


def _request_checks(db: Connection, projects: Iterable[int]) -> None:
    for project_id in projects:
        RECHECK.of(project_id).set(db, time.time())
        pending_work.want(db, project_id, WorkKind.SYNC)
