"""Logs: what many requests can cause doesn't fill the disk."""

import io
import json
import logging

import pytest
import structlog

from backend import logs


@pytest.fixture
def lines(monkeypatch):
    """The lines that are logged, as JSON; the configuration is put back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    before = structlog.get_config()
    stream = io.StringIO()

    def read(level: str = "info"):
        logs.configure(level, stream=stream)
        return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]

    yield read
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)


def test_repeated_lines_are_limited_by_kind_and_counted(lines, monkeypatch):
    clock = 100.0
    monkeypatch.setattr(logs.time, "monotonic", lambda: clock)
    shown = lines()
    log = structlog.get_logger("a")
    for number in range(500):
        log.warning("task refused", task=number)
        logging.getLogger("uvicorn.error").warning("Invalid request %s", number)
    log.warning("another kind")
    events = [line["event"] for line in shown()]
    assert events.count("task refused") == logs.LINES
    assert sum(event.startswith("Invalid") for event in events) == logs.LINES
    assert "another kind" in events
    clock += logs.WINDOW_SECONDS
    log.warning("task refused", task=1)
    assert shown()[-1]["left_out"] == 500 - logs.LINES


def test_nothing_is_left_out_at_the_level_debug(lines):
    shown = lines("debug")
    for _ in range(logs.LINES + 10):
        structlog.get_logger("a").info("again")
    assert len(shown()) == logs.LINES + 10


def test_kinds_without_number_take_no_memory(lines, monkeypatch):
    monkeypatch.setattr(logs, "KINDS", 10)
    repeated = logs.RepeatFilter()
    for number in range(100):
        record = logging.LogRecord("a", logging.INFO, "f", 1, f"kind {number}", None, None)
        assert repeated.filter(record)
    assert len(repeated._counts) <= 10


def test_secrets_are_masked(lines):
    shown = lines()
    structlog.get_logger("a").info("connected", token="t0ken", secret="s3cret", url="http://x")
    (line,) = shown()
    assert (line["token"], line["secret"], line["url"]) == ("***", "***", "http://x")
