"""The process of the guests: each guest in a process below it, all behind one unix socket."""

import asyncio
import contextlib
import signal
import threading
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from services.guests.specification import GuestSpec, guest_specs
from services.guests.state import (
    READY,
    REPORT,
    GuestReport,
    GuestStatus,
    LoadedModel,
    loaded_key,
)
from store.predictions.guest_predictions import GuestPrediction, GuestPredictions
from store.projects.projects import get_project, list_projects
from store.settings import Settings
from store.store import Store
from store.work.pending_work import want
from store.work.work_kind import WorkKind
from studio.config import control_names
from worker.guests.priority import AHEAD
from worker.guests.protocol import read_message, write_message
from worker.guests.runner import GuestFaultError, GuestRunner, GuestUnavailableError
from worker.guests.socket_path import socket_path
from worker.guests.warm_guest import Model, model_of
from worker.supervision.child_process import shorten_log
from worker.supervision.unix_socket import lock_socket

log = structlog.get_logger()

REPORT_SECONDS = 0.5  # between two writes of the guests' state
LOG_SECONDS = 60.0  # between two looks whether a log is too long


class GuestServer:
    """Answers requests for guests' suggestions, and stores them."""

    def __init__(self, store: Store, guests: tuple[GuestSpec, ...]) -> None:
        self.store = store
        self.predictions = GuestPredictions(store.settings)
        self._statuses = {guest.name: GuestStatus.of(guest) for guest in guests}
        self._changed = threading.Event()
        self.runners = {guest.name: self._runner(guest) for guest in guests}

    def _runner(self, guest: GuestSpec) -> GuestRunner:
        def on_change(status: GuestStatus) -> None:
            is_back = READY == status.state != self._statuses[guest.name].state
            self._statuses[guest.name] = status
            self._changed.set()
            if is_back:
                self._ask_again(guest)

        def on_load(project_id: int, model: LoadedModel) -> None:
            self.store.database.write(lambda db: _note_loaded(db, guest.name, project_id, model))

        return GuestRunner(guest, self.store.settings, on_change, on_load)

    async def run(self, socket: Path, stop: asyncio.Event) -> None:
        """Serve until `stop` is set."""
        for runner in self.runners.values():
            runner.start()
        self._changed.set()
        reporting = asyncio.create_task(self._report())
        # Its folder is ours alone.
        server = await asyncio.start_unix_server(self._serve, str(socket))
        await asyncio.to_thread(self._load_all)
        log.info("guests ready to be asked", guests=list(self.runners))
        await stop.wait()
        server.close()
        reporting.cancel()
        for runner in self.runners.values():
            await asyncio.to_thread(runner.stop)
        self.predictions.close()

    def _load_all(self) -> None:
        """Load the models of all projects: the first annotator mustn't wait for it."""
        with self.store.database.read() as db:
            projects = [project.id for project in list_projects(db)]
        for name, runner in self.runners.items():
            for project_id in projects:
                with contextlib.suppress(GuestUnavailableError):
                    runner.ask(self._model(name, project_id), None, priority=AHEAD)

    def _ask_again(self, guest: GuestSpec) -> None:
        """Have a guest that is back asked for what it missed, at once."""

        def write(db: Connection) -> None:
            for project in list_projects(db):
                if guest.serves(set(control_names(project.label_config))):
                    want(db, project.id, WorkKind.PREDICT, not_before=0.0)

        try:
            self.store.database.write(write)
        except SQLAlchemyError as error:
            log.warning("the guest is asked again later", guest=guest.name, reason=str(error))

    def _model(self, guest: str, project_id: int) -> Model:
        """What a guest's model for a project is made of.

        Raises:
            GuestUnavailableError: the guest has nothing to do with that project.
        """
        runner = self.runners.get(guest)
        with self.store.database.read() as db:
            project = get_project(db, project_id)
            if runner is None or project is None:
                raise GuestUnavailableError(f"no guest {guest!r}, or no project {project_id}")
            model = model_of(db, runner.spec, project)
        if not runner.spec.serves(set(model.controls)):
            raise GuestUnavailableError(f"{guest} has no control in project {project.ls_id}")
        return model

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError):
            while (message := await read_message(reader)) is not None:
                await write_message(writer, await self._answer(message))
        writer.close()

    async def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        try:
            if message["method"] == "health":
                return {"guests": list(self.runners)}
            guest, project_id = str(message["guest"]), int(message["project"])
            model = await asyncio.to_thread(self._model, guest, project_id)
            if message["method"] == "load":
                loaded, _ = await asyncio.wrap_future(self.runners[guest].ask(model, None))
                return {"version": loaded.version}
            return await self._predict(guest, model, message)
        except GuestFaultError as error:
            return {"error": str(error), "fault": True}
        except (GuestUnavailableError, SQLAlchemyError, KeyError, ValueError) as error:
            return {"error": str(error)}

    async def _predict(self, guest: str, model: Model, message: dict[str, Any]) -> dict[str, Any]:
        tasks, options = message["tasks"], message["options"]
        loaded, suggestions = await asyncio.wrap_future(
            self.runners[guest].ask(
                model,
                tasks,
                priority=message["priority"],
                seconds=message["seconds"],
                **options,
            )
        )
        if not options.get("context"):
            found = {
                task["id"]: GuestPrediction(list(suggestion.regions), suggestion.score)
                for task, suggestion in zip(tasks, suggestions, strict=True)
                if isinstance(task.get("id"), int)
            }
            data = {task["id"]: task.get("data") or {} for task in tasks if task["id"] in found}
            key = loaded.key
            await asyncio.to_thread(self.predictions.put, model.project_id, guest, key, data, found)
        return {
            "model": loaded.key,
            "version": loaded.version,
            "suggestions": [[list(each.regions), each.score] for each in suggestions],
        }

    async def _report(self) -> None:
        """Write the guests' state when it has changed, and keep their logs short."""
        looked = 0.0
        loop = asyncio.get_running_loop()
        while True:
            if self._changed.is_set():
                self._changed.clear()
                report = GuestReport(tuple(self._statuses.values()))
                try:
                    await asyncio.to_thread(
                        self.store.database.write, lambda db, r=report: REPORT.set(db, r)
                    )
                except SQLAlchemyError as error:
                    log.warning("the guests' state isn't stored", reason=str(error))
                    self._changed.set()
            if loop.time() - looked > LOG_SECONDS:
                looked = loop.time()
                for name in self.runners:
                    shorten_log(self.store.settings.home / "logs" / f"guest-{name}.log")
            await asyncio.sleep(REPORT_SECONDS)


def _note_loaded(db: Connection, guest: str, project_id: int, model: LoadedModel) -> None:
    """Store which model answers: a new one makes new suggestions, and belongs to a new version."""
    key = loaded_key(guest, project_id)
    before = key.get(db)
    key.set(db, model)
    if before != model:
        want(db, project_id, WorkKind.PREDICT)
    if before is None or before.version != model.version:
        want(db, project_id, WorkKind.LEARN)


def main(settings: Settings) -> None:
    """Run the process of the guests until SIGTERM or Ctrl-C.

    Raises:
        GuestSettingError: the settings name a guest that can't be.
    """
    guests = guest_specs(settings)
    socket = socket_path(settings)
    with lock_socket(socket, "process of the guests"):
        store = Store.open(settings, migrate=True)
        try:
            asyncio.run(_run(store, guests, socket))
        finally:
            store.close()


async def _run(store: Store, guests: tuple[GuestSpec, ...], socket: Path) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    await GuestServer(store, guests).run(socket, stop)
