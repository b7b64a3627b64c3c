"""`apprentice up`, from the ready line to the last process gone."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backend.doctor.readiness import not_ready
from store.settings import Settings
from tests.support.processes import STOP_SECONDS, environment, own_settings, processes_of, running

QUEUES = ("sync", "embed", "learn", "publish", "finetune")


def command(settings: Settings, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "backend.cli", *arguments],
        env=environment(settings) | more,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_up_starts_everything_says_so_once_and_leaves_nothing(
    tmp_path: Path, backbones: Path
) -> None:
    settings = own_settings(tmp_path / "home", backbones=backbones)
    with running("up", settings, lambda: "is ready" in output(settings)) as up:
        assert not_ready(settings) == []
        second = command(settings, "up", APPRENTICE_PORT="1")
        assert second.returncode == 1
        assert f"process {up.pid}" in second.stderr
        assert settings.url in second.stderr
        status = json.loads(command(settings, "status", "--json").stdout)
        assert {worker["queue"] for worker in status["workers"]} == set(QUEUES)
        assert status["broker"]
        assert len(processes_of(settings.home)) >= 3 + len(QUEUES)
        up.send_signal(signal.SIGINT)
        assert up.wait(STOP_SECONDS) == 0
    lines = [line for line in output(settings).splitlines() if line]
    assert len(lines) == 2
    assert lines[0].startswith(f"Apprentice is ready at {settings.url}")
    assert "apprentice connect --project" in lines[0]
    assert lines[1] == "Everything is stopped."
    assert processes_of(settings.home) == []


@pytest.mark.slow
def test_nothing_outlives_an_up_that_is_killed(tmp_path: Path, backbones: Path) -> None:
    settings = own_settings(tmp_path / "home", backbones=backbones)
    with running("up", settings, lambda: "is ready" in output(settings)) as up:
        up.kill()
        up.wait()
        deadline = time.monotonic() + 10
        while left := processes_of(settings.home):
            assert time.monotonic() < deadline, left
            time.sleep(0.05)


def output(settings: Settings) -> str:
    return (settings.home / "up.out").read_text()


def test_a_port_in_use_is_told_before_anything_starts(tmp_path: Path) -> None:
    settings = own_settings(tmp_path / "home")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = command(settings, "up", APPRENTICE_PORT=str(port))
    assert refused.returncode == 1
    assert f"127.0.0.1:{port}" in refused.stderr
    assert "APPRENTICE_PORT" in refused.stderr
    assert not (settings.home / "apprentice.db").exists()
    assert not (settings.home / "broker").exists()


@pytest.mark.parametrize("what", ["up", "serve"])
def test_strangers_are_kept_out_unless_said_otherwise(tmp_path: Path, what: str) -> None:
    settings = own_settings(tmp_path / "home")
    refused = command(settings, what, APPRENTICE_HOST="0.0.0.0")
    assert refused.returncode == 2
    assert "BASIC_AUTH_USER" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_broker_that_does_not_answer_is_named(tmp_path: Path) -> None:
    settings = own_settings(tmp_path / "home")
    refused = command(settings, "up", APPRENTICE_REDIS_URL="redis://127.0.0.1:9/0")
    assert refused.returncode == 1
    assert "APPRENTICE_REDIS_URL" in refused.stderr


def test_an_unknown_backbone_is_named_with_those_that_exist(tmp_path: Path) -> None:
    settings = own_settings(tmp_path / "home")
    refused = command(settings, "up", APPRENTICE_BACKBONE="bundled:lite9")
    assert refused.returncode == 2
    assert "bundled:lite0" in refused.stderr
