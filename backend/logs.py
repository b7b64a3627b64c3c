"""Structured logs, one line per event: JSON, or key=value in a terminal."""

import logging
import sys
import threading
import time
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

# Values under such keys are never written, whoever logs them.
SECRET_KEYS = frozenset(
    {"token", "secret", "password", "authorization", "api_key", "access_token", "body"}
)
QUIET = ("httpx", "httpcore", "uvicorn.access", "alembic.runtime.plugins")


LINES = 50  # of one kind in WINDOW_SECONDS: what many can cause must not fill the disk
WINDOW_SECONDS = 10.0
KINDS = 1_000  # that are counted apart


class RepeatFilter(logging.Filter):
    """Leaves out lines of one kind after many of them; the next one says how many.

    A kind is a logger with an event, or with a message before its arguments are filled in.
    """

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[tuple[str, str], tuple[float, int]] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        event = record.msg.get("event") if isinstance(record.msg, dict) else record.msg
        kind = (record.name, str(event)[:200])
        now = time.monotonic()
        with self._lock:
            began, count = self._counts.get(kind, (now, 0))
            left_out = 0
            if now - began >= WINDOW_SECONDS:
                left_out = max(0, count - LINES)
                began, count = now, 0
            if kind not in self._counts and len(self._counts) >= KINDS:
                self._counts.clear()
            self._counts[kind] = (began, count + 1)
        if left_out and isinstance(record.msg, dict):
            record.msg["left_out"] = left_out
        return count < LINES


def hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor that masks the values of secret fields."""
    for key in SECRET_KEYS.intersection(event):
        event[key] = "***"
    return event


def configure(level: str = "info", *, stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's logs to `stream` (standard error).

    A terminal gets `time [level] event key=value`, everything else JSON. Above the level "debug",
    lines that repeat are limited.
    """
    stream = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
        hide_secrets,
    ]
    render: list[Any]
    if stream.isatty():
        render = [structlog.dev.ConsoleRenderer()]
    else:
        render = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    if level != "debug":
        handler.addFilter(RepeatFilter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # It warns of statements in a pipeline whose transaction is being run again.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
