"""A guest's process with the models that are loaded in it, one for each project."""

import hashlib
import time
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Connection

from services.guests.answers import GuestSuggestion, WrongAnswerError, read_answer
from services.guests.specification import GuestSpec
from services.guests.state import LoadedModel, fitted_key
from store.projects.connections import get_connection
from store.projects.projects import Project
from store.settings import Settings
from studio.config import control_names
from worker.guests.host import INSTANCES
from worker.guests.process import GuestError, GuestLostError, GuestProcess

log = structlog.get_logger()

LOAD_SECONDS = 600.0  # for importing the class, and for making the model of a project: weights come
LOAD_AGAIN = 30.0  # seconds until a model that couldn't be made is tried again


@dataclass(frozen=True)
class Model:
    """A guest's model for a project, to be loaded: what its instance is made of."""

    project_id: int
    ls_id: int
    label_config: str
    controls: frozenset[str]
    hostname: str
    access_token: str
    fits: int = 0
    train_output: dict[str, Any] | None = None

    def arguments(self) -> dict[str, Any]:
        """What the host makes the instance of."""
        return {
            "project": str(self.project_id),
            "project_id": str(self.ls_id),
            "label_config": self.label_config,
            "train_output": self.train_output,
            "hostname": self.hostname,
            "access_token": self.access_token,
        }


def model_of(db: Connection, guest: GuestSpec, project: Project) -> Model:
    """What a guest's model for a project is made of."""
    connection = get_connection(db, project.connection_id)
    fitted = fitted_key(guest.name, project.id).get(db)
    return Model(
        project_id=project.id,
        ls_id=project.ls_id,
        label_config=project.label_config,
        controls=control_names(project.label_config),
        hostname=connection.url if connection else "",
        access_token=connection.token if connection else "",
        fits=fitted.fits if fitted else 0,
        train_output=fitted.train_output if fitted else None,
    )


@dataclass(frozen=True)
class _Refused:
    """A model that couldn't be made, when (monotonic), and why."""

    model: Model
    at: float
    why: str


def open_process(spec: GuestSpec, settings: Settings, log_name: str = "") -> GuestProcess:
    """Start a guest's process and wait until its class is loaded.

    Raises:
        GuestError: it can't be loaded.
        GuestLostError: its process ended, or took too long.
    """
    process = GuestProcess(
        spec,
        settings.home / "guests" / spec.name,
        settings.home / "logs" / f"guest-{spec.name}{log_name}.log",
        private_addresses=settings.image_private_addresses,
    )
    try:
        process.start(LOAD_SECONDS)
    except BaseException:
        process.kill()
        raise
    return process


class WarmGuest:
    """A guest that runs. GuestLostError is raised when its process is gone; then so is this."""

    def __init__(self, spec: GuestSpec, settings: Settings) -> None:
        self.spec = spec
        self._settings = settings
        self._process = open_process(spec, settings)
        self._loaded: dict[int, tuple[Model, LoadedModel]] = {}
        self._refused: dict[int, _Refused] = {}
        self._one_by_one = False  # it answers one task of a request alone

    @property
    def description(self) -> dict[str, Any]:
        """Its interface, whether it learns, and its Python."""
        return dict(self._process.description)

    def load(self, model: Model) -> LoadedModel:
        """Make the model of a project, unless it is loaded.

        Raises:
            GuestError: it can't be made; an earlier model of the project goes on.
        """
        known = self._loaded.get(model.project_id)
        if known is not None and known[0] == model:
            return known[1]
        refused = self._refused.get(model.project_id)
        if refused and refused.model == model and time.monotonic() - refused.at < LOAD_AGAIN:
            raise GuestError(refused.why)
        try:
            if known is not None and known[0].fits != model.fits:
                return self._take_over(model)
            return self._make(self._process, model)
        except GuestError as error:
            why = f"its model can't be made: {error}"
            self._refused[model.project_id] = _Refused(model, time.monotonic(), why)
            raise GuestError(why) from error

    def current(self, model: Model) -> LoadedModel:
        """The model of a project that answers; an earlier one while the newest can't be made.

        Raises:
            GuestError: there is none.
        """
        try:
            return self.load(model)
        except GuestError:
            known = self._loaded.get(model.project_id)
            if known is None or known[0].label_config != model.label_config:
                raise
            return known[1]

    def predict(
        self, model: Model, tasks: list[Any], options: dict[str, Any]
    ) -> list[GuestSuggestion]:
        """Suggestions for tasks of a project whose model is loaded.

        Raises:
            GuestError: the guest raised an exception.
            WrongAnswerError: its answer is of no use.
        """
        if self._one_by_one and len(tasks) > 1:
            return [each for task in tasks for each in self.predict(model, [task], options)]
        controls = set(self.spec.controls) or set(model.controls)
        answer = self._process.request(
            "predict",
            self._settings.guest_seconds,
            project=str(model.project_id),
            tasks=tasks,
            hostname=model.hostname,
            access_token=model.access_token,
            **options,
        )["answer"]
        try:
            return read_answer(answer, len(tasks), controls)
        except WrongAnswerError:
            # As Label Studio does: some models look at the first task alone.
            if len(tasks) == 1 or _length(answer) != 1:
                raise
            self._one_by_one = True
            return self.predict(model, tasks, options)

    def kill(self) -> None:
        """End the process."""
        self._process.kill()

    def _make(self, process: GuestProcess, model: Model) -> LoadedModel:
        self._loaded.pop(model.project_id, None)
        while len(self._loaded) >= INSTANCES:  # as the host does
            del self._loaded[next(iter(self._loaded))]
        answer = process.request("load", LOAD_SECONDS, **model.arguments())
        loaded = LoadedModel(self._key(model, answer["version"]), answer["version"])
        self._loaded[model.project_id] = (model, loaded)
        log.info("guest's model loaded", guest=self.spec.name, version=loaded.version)
        return loaded

    def _take_over(self, model: Model) -> LoadedModel:
        """Load a newly trained model in a process of its own: the old one's files have changed."""
        try:
            process = open_process(self.spec, self._settings)
        except GuestLostError as error:
            raise GuestError(str(error)) from error
        before = self._loaded
        self._loaded = {}
        try:
            loaded = self._make(process, model)
        except (GuestError, GuestLostError) as error:
            process.kill()
            self._loaded = before
            raise GuestError(str(error)) from error
        self._process.kill()
        self._process = process
        return loaded

    def _key(self, model: Model, version: str | None) -> str:
        """A hash of what determines the model's answers."""
        parts = (self.spec.class_name, version, str(model.fits), model.label_config)
        digest = hashlib.sha256(self.spec.file.read_bytes())
        digest.update(repr(parts).encode("utf-8", "replace"))
        return digest.hexdigest()[:24]


def _length(answer: Any) -> int | None:
    if isinstance(answer, dict):
        answer = answer.get("predictions")
    return len(answer) if isinstance(answer, list) else None
