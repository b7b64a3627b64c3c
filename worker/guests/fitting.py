"""Trains a guest in a process of its own, with progress, cancelling and a time limit."""

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import structlog
from sqlalchemy import Connection

from services.guests.project_guests import project_guests
from services.guests.specification import GuestSpec
from services.guests.state import ASKED_FOR, FittedModel, fitted_key
from services.job_context import JobContext
from services.learning.guest_work import annotations_digest, guests_to_train
from store.projects.projects import Project
from store.tasks.annotations import AnnotationRecord, current_annotations
from store.tasks.tasks import task_data
from store.tasks.units import TaskId
from worker.guests.access import GuestAccess
from worker.guests.client import GuestsAwayError
from worker.guests.process import GuestError, GuestLostError
from worker.guests.warm_guest import LOAD_SECONDS, model_of, open_process

log = structlog.get_logger()

_OF = re.compile(r"(\d+)\s*/\s*(\d+)")
_PERCENT = re.compile(r"(\d{1,3})(?:\.\d+)?\s?%")


class GuestFitCancelledError(Exception):
    """The training was cancelled."""


def fraction_of(line: str) -> float | None:
    """How far a training is, as a printed line says it: "epoch 3/10", "42%"; else None."""
    if found := _OF.search(line):
        done, of = int(found[1]), int(found[2])
        return done / of if 0 < done <= of else None
    if found := _PERCENT.search(line):
        return min(int(found[1]), 100) / 100
    return None


class GuestFitting:
    """Trains the guests of a project that have not seen today's annotations."""

    def __init__(self, context: JobContext, access: GuestAccess) -> None:
        self.context = context
        self.access = access
        self.database = context.store.database
        self.settings = context.store.settings
        self.cancelled: Callable[[], bool] = lambda: False

    def run(self, cancelled: Callable[[], bool]) -> list[str]:
        """Train them, one after the other.

        Returns:
            Why guests could not be trained, in words. With the same annotations they aren't
            trained again.

        Raises:
            GuestFitCancelledError: the training was cancelled.
        """
        self.cancelled = cancelled
        project = self.context.project
        with self.database.read() as db:
            guests = project_guests(db, self.access.specs, project)
            waiting = guests_to_train(db, guests) if guests else []
            asked_for = ASKED_FOR.of(project.id).get(db)
            annotations = current_annotations(db, project.id)
        reasons = []
        for spec in guests.specs if guests else ():
            if spec.name in waiting or asked_for:
                with self.context.step(f"fit {spec.name}"):
                    reason = self._fit(spec, annotations, asked_for or "")
                if reason is not None:
                    log.warning("guest not trained", guest=spec.name, reason=reason)
                    reasons.append(f"{spec.name}: {reason}")
        return reasons

    def _fit(
        self, spec: GuestSpec, annotations: Sequence[AnnotationRecord], asked_for: str
    ) -> str | None:
        """Train one guest. Returns why that failed."""
        project_id, key = self.context.project.id, fitted_key(spec.name, self.context.project.id)
        with self.database.read() as db:
            before = key.get(db)
        fits = before.fits if before else 0
        try:
            answer = self._train(spec, annotations, asked_for)
        except (GuestError, GuestLostError, OSError) as error:
            output = before.train_output if before else None
            fitted = FittedModel(
                fits,
                before.version if before else None,
                output,
                annotations_digest(annotations),
                time.time(),
            )
            self.database.write(lambda db: key.set(db, fitted))
            return str(error)
        output = answer["train_output"]
        if output is not None:
            output = {**output, "job_id": str(answer["version"])}
        fitted = FittedModel(
            fits + 1, answer["version"], output, annotations_digest(annotations), time.time()
        )

        def write(db: Connection) -> None:
            self.context.note_progress(db, 1.0, f"{spec.name}: loading what it has learned")
            key.set(db, fitted)

        self.database.write(write)
        try:
            asyncio.run(self.access.client.reload(spec.name, project_id, LOAD_SECONDS))
        except GuestsAwayError as error:
            return f"trained; {error}"
        return None

    def _train(
        self, spec: GuestSpec, annotations: Sequence[AnnotationRecord], asked_for: str
    ) -> dict[str, Any]:
        project, job = self.context.project, str(int(time.time()))
        workdir = self.settings.home / "guests" / spec.name / str(project.id) / job
        workdir.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.database.read() as db:
            model = model_of(db, spec, project)
            data = task_data(db, project.id, {each.task_ls_id for each in annotations})
        began = time.monotonic()
        process = open_process(spec, self.settings, "-fit")

        def watch() -> None:
            if self.cancelled():
                raise GuestFitCancelledError
            self._show(spec, process.last_line(), time.monotonic() - began)

        tasks = labelled_tasks(annotations, data)
        event, payload = event_of(project, annotations, tasks, asked_for)
        try:
            process.request("load", LOAD_SECONDS, watch=watch, **model.arguments())
            return process.request(
                "fit",
                self.settings.guest_fit_seconds,
                watch=watch,
                project=str(project.id),
                event=event,
                data=payload,
                tasks=tasks,
                job_id=job,
                workdir=str(workdir),
            )
        finally:
            process.kill()

    def _show(self, spec: GuestSpec, line: str, seconds: float) -> None:
        fraction = fraction_of(line)
        message = f"{spec.name} learns since {seconds:.0f} s"
        self.context.progress(fraction or 0.0, f"{message}: {line}" if line else message)


def labelled_tasks(
    annotations: Sequence[AnnotationRecord], data: Mapping[TaskId, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Tasks with their annotations, as label-studio-ml passes them to `fit`."""
    tasks: dict[int, dict[str, Any]] = {}
    for each in annotations:
        if each.task_ls_id in data:
            task = tasks.setdefault(
                each.task_ls_id,
                {"id": each.task_ls_id, "data": dict(data[each.task_ls_id]), "annotations": []},
            )
            task["annotations"].append(annotation_json(each))
    return list(tasks.values())


def annotation_json(annotation: AnnotationRecord) -> dict[str, Any]:
    """An annotation as Label Studio's webhooks tell it."""
    plain = asdict(annotation)
    plain["id"], plain["task"] = plain.pop("ls_id"), plain.pop("task_ls_id")
    return plain


def event_of(
    project: Project,
    annotations: Sequence[AnnotationRecord],
    tasks: Sequence[dict[str, Any]],
    asked_for: str,
) -> tuple[str, dict[str, Any]]:
    """The event that a training follows, and its payload, as a webhook would have told it.

    Events in a row are one training: the last of them is told.
    """
    about = {"id": project.ls_id, "title": project.title, "label_config": project.label_config}
    if asked_for or not annotations:
        return asked_for or "ANNOTATION_DELETED", {"project": about}
    newest = annotations[-1]
    created = newest.updated_at - newest.created_at < 1.0
    task = next((each for each in tasks if each["id"] == newest.task_ls_id), {})
    payload = {"project": about, "task": task, "annotation": annotation_json(newest)}
    return ("ANNOTATION_CREATED" if created else "ANNOTATION_UPDATED"), payload
