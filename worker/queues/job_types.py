"""The kinds of jobs, and an RQ job class that runs no others.

RQ's own Job calls any dotted path that it finds in Redis and reads its arguments with pickle, so
whoever can write to Redis runs code on the workers. `AllowedJob` calls only registered functions,
reads JSON alone, and drops callbacks, webhooks and dependencies.
"""

import importlib
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer, Serializer

from store.work.pending_work import LeaseLostError
from store.work.work_kind import WorkKind

JobFunction = Callable[[int, int], None]

TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class JobRefusedError(Exception):
    """Redis holds a job of no registered kind; it is not run."""


@dataclass(frozen=True)
class JobKind:
    """A kind of job.

    Attributes:
        name: the prefix of its job ids; Redis holds it in place of the function's path.
        target: `module:function`, imported when a job of this kind is run, not before.
        queue: the queue that its jobs wait in.
        timeout: seconds after which it is killed. A job stops by itself long before.
    """

    name: str
    target: str
    queue: str
    timeout: int

    def load(self) -> JobFunction:
        """Import the function, which takes the project's id and the generation."""
        module, _, name = self.target.partition(":")
        function: JobFunction = getattr(importlib.import_module(module), name)
        return function


_KINDS: dict[str, JobKind] = {}


def register_kind(kind: JobKind) -> JobKind:
    """Register a kind of job. Registering the same kind again changes nothing.

    Raises:
        ValueError: the target isn't `module:function`, or the name means another kind already.
    """
    if not TARGET.fullmatch(kind.target):
        raise ValueError(f"{kind.target!r} is not of the form module:function")
    if _KINDS.setdefault(kind.name, kind) != kind:
        raise ValueError(f"the job kind {kind.name!r} is already {_KINDS[kind.name]}")
    return kind


def get_kind(name: str) -> JobKind:
    """Return the kind of that name.

    Raises:
        JobRefusedError: there is none.
    """
    try:
        return _KINDS[name]
    except (KeyError, TypeError):
        raise JobRefusedError(f"no job may call {name!r}; allowed: {', '.join(_KINDS)}") from None


def kinds_of_queue(queue: str) -> list[JobKind]:
    """List the kinds whose jobs wait in that queue."""
    return [kind for kind in _KINDS.values() if kind.queue == queue]


def _register(kind: WorkKind, *, timeout: int) -> JobKind:
    return register_kind(JobKind(kind, f"worker.jobs.{kind}:run", queue=kind, timeout=timeout))


SYNC = _register(WorkKind.SYNC, timeout=60)
EMBED = _register(WorkKind.EMBED, timeout=120)
# Helps a project's embedding job; the scheduler counts these, the table of jobs doesn't.
SHARDS = register_kind(
    JobKind("shards", "worker.jobs.shards:run", queue=WorkKind.EMBED, timeout=120)
)
LEARN = _register(WorkKind.LEARN, timeout=120)
PUBLISH = _register(WorkKind.PUBLISH, timeout=120)
FINETUNE = _register(WorkKind.FINETUNE, timeout=7 * 86_400)
PREDICT = _register(WorkKind.PREDICT, timeout=3_600)
GUEST = _register(WorkKind.GUEST, timeout=7 * 86_400)


class AllowedJob(Job):
    """An RQ job that calls only functions of registered kinds."""

    def __init__(
        self,
        id: str | None = None,  # noqa: A002
        connection: Redis | None = None,
        serializer: Serializer | str | None = None,
    ) -> None:
        """Make a job as RQ does, always with the JSON serializer."""
        super().__init__(id=id, connection=connection, serializer=JSONSerializer)

    def restore(self, raw_data: Any) -> None:
        """Read the job from Redis, without callbacks, webhooks, dependencies and repeats."""
        super().restore(raw_data)
        self._success_callback_name = None
        self._failure_callback_name = None
        self._stopped_callback_name = None
        self.webhooks = []
        self._dependency_ids = []
        self.group_id = None
        self.rate_limit_key = None
        self.rate_limit_concurrency = None
        self.retries_left = None
        self.repeats_left = None

    @property
    def func(self) -> JobFunction:
        """The function of the job's kind.

        Raises:
            JobRefusedError: no such kind.
        """
        return get_kind(self.func_name or "").load()

    def _execute(self) -> None:
        args = self.args
        if self.kwargs or len(args) != 2 or not all(type(arg) is int for arg in args):
            raise JobRefusedError("a job takes a project's id and a generation, both whole numbers")
        project_id, generation = args
        with suppress(LeaseLostError):  # its work is done already, or was cancelled
            self.func(project_id, generation)
