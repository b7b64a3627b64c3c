"""The command line as a person meets it: quick, and plain about what is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Connection

from store.projects.connections import DEFAULT, get_connection, save_connection
from store.projects.projects import save_project
from store.settings import Settings
from store.store import Store

HEAVY = {"torch", "openvino", "sklearn", "timm", "sqlalchemy", "fastapi", "redis", "numpy"}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Nothing of the tester's own settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("APPRENTICE_", "LABEL_STUDIO_", "BASIC_AUTH_"))
    }
    return kept | {"APPRENTICE_HOME": str(tmp_path / "home")}


def run(
    arguments: list[str], environment: dict[str, str], **more: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "backend.cli", *arguments],
        env=environment | more,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return set(done.stdout.split())


def test_help_names_every_command_and_imports_nothing_heavy(environment: dict[str, str]) -> None:
    shown = run(["--help"], environment)
    assert shown.returncode == 0
    commands = "up serve inference worker connect disconnect doctor status backbones demo"
    for command in commands.split():
        assert command in shown.stdout
    assert not HEAVY & modules_after("import backend.cli.main")


def test_every_command_explains_itself(environment: dict[str, str]) -> None:
    for command in ("connect", "status", "worker"):
        shown = run([command, "--help"], environment)
        assert shown.returncode == 0
        assert "Usage:" in shown.stdout


def test_wrong_settings_are_one_line_each_without_their_values(
    environment: dict[str, str],
) -> None:
    refused = run(
        ["status"],
        environment,
        APPRENTICE_PORT="many",
        APPRENTICE_DEVICE="abacus",
        LABEL_STUDIO_URL="localhost:8080",
    )
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    lines = refused.stderr.strip().splitlines()
    assert len(lines) == 4
    for variable in ("APPRENTICE_PORT: ", "APPRENTICE_DEVICE: ", "LABEL_STUDIO_URL: "):
        assert any(line.startswith(variable) for line in lines)


def test_connect_without_a_label_studio_says_what_to_set(environment: dict[str, str]) -> None:
    refused = run(["connect", "--project", "1"], environment)
    assert refused.returncode == 1
    assert "LABEL_STUDIO_URL" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_connect_says_that_label_studio_cannot_be_reached(environment: dict[str, str]) -> None:
    refused = run(
        ["connect", "--project", "1", "--url", "http://127.0.0.1:9", "--api-key", "a" * 40],
        environment,
    )
    assert refused.returncode == 1
    assert "http://127.0.0.1:9 can't be reached" in refused.stderr
    assert "a" * 40 not in refused.stderr + refused.stdout


def test_a_token_on_the_command_line_is_warned_of_and_standard_input_is_read(
    environment: dict[str, str],
) -> None:
    command = ["connect", "--project", "1", "--url", "http://127.0.0.1:9", "--api-key"]
    refused = run([*command, "a" * 40], environment)
    assert "--api-key -" in refused.stderr
    piped = subprocess.run(
        [sys.executable, "-m", "backend.cli", *command, "-"],
        env=environment,
        input="b" * 40 + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "can't be reached" in piped.stderr
    assert "--api-key -" not in piped.stderr
    assert "b" * 40 not in piped.stderr + piped.stdout


def test_a_new_connection_needs_its_url_and_key(environment: dict[str, str]) -> None:
    refused = run(["connect", "--project", "1", "--connection", "lab"], environment)
    assert refused.returncode == 1
    assert "--url" in refused.stderr


@pytest.mark.parametrize("command", ["connect", "disconnect"])
def test_what_does_not_work_takes_no_working_connections_place(
    environment: dict[str, str], command: str
) -> None:
    store = Store.open(Settings(home=Path(environment["APPRENTICE_HOME"])), migrate=True)

    def save(db: Connection) -> None:
        save_connection(db, DEFAULT, "http://studio:8080", "a token that works")
        save_project(db, DEFAULT, 1, 1700000000, title="Cats", label_config="<View/>")

    store.database.write(save)
    with store.database.read() as db:
        before = get_connection(db, DEFAULT)
    wrong = ["--url", "http://127.0.0.1:9", "--api-key", "a" * 40]
    assert run([command, "--project", "1", *wrong], environment).returncode == 1
    with store.database.read() as db:
        assert get_connection(db, DEFAULT) == before
    store.close()


def test_disconnect_of_what_is_not_connected_fails(environment: dict[str, str]) -> None:
    refused = run(
        ["disconnect", "--project", "1", "--url", "http://127.0.0.1:9", "--api-key", "a" * 40],
        environment,
    )
    assert refused.returncode == 1
    assert "project 1 is not connected" in refused.stderr


def test_an_unknown_queue_is_refused(environment: dict[str, str]) -> None:
    refused = run(["worker", "laundry"], environment)
    assert refused.returncode == 2
    assert "sync" in refused.stderr


def test_the_doctor_on_an_empty_home_is_broken_and_creates_nothing(
    environment: dict[str, str],
) -> None:
    done = run(["doctor", "--json"], environment)
    assert done.returncode == 1
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert checks["disk"]["level"] != "broken"
    for name in ("database", "broker", "web", "inference"):
        assert checks[name]["level"] == "broken"
        assert checks[name]["advice"]
    assert not Path(environment["APPRENTICE_HOME"]).exists()


def test_status_before_anything_was_started_says_so(environment: dict[str, str]) -> None:
    refused = run(["status", "--json"], environment)
    assert refused.returncode == 1
    assert "apprentice up" in refused.stderr
    assert not Path(environment["APPRENTICE_HOME"]).exists()


@pytest.mark.parametrize("command", ["export --output out", "train", "cancel", "apply"])
def test_no_command_makes_an_empty_store(environment: dict[str, str], command: str) -> None:
    refused = run([*command.split(), "--project", "1"], environment)
    assert refused.returncode == 1
    assert "apprentice up" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not Path(environment["APPRENTICE_HOME"]).exists()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("APPRENTICE_DATABASE_URL", "postgres"),
        ("APPRENTICE_DATABASE_URL", "oracle9://host/name"),
        ("APPRENTICE_DATABASE_URL", "postgresql+psycopg://127.0.0.1:9/name"),
        ("APPRENTICE_REDIS_URL", "localhost:6379"),
    ],
)
def test_servers_that_are_not_there_are_told_in_words(
    environment: dict[str, str], variable: str, value: str
) -> None:
    refused = run(["versions", "--project", "1"], environment, **{variable: value})
    assert refused.returncode in (1, 2)
    assert "Traceback" not in refused.stderr
    assert variable in refused.stderr or "the database can't be opened" in refused.stderr


def test_a_database_of_another_version_is_told_in_words(environment: dict[str, str]) -> None:
    home = Path(environment["APPRENTICE_HOME"])
    Store.open(Settings(home=home)).close()
    (home / "apprentice.db").touch()
    refused = run(["status"], environment)
    assert refused.returncode == 1
    assert "another version of Apprentice" in refused.stderr


def test_an_id_that_no_database_holds_is_only_unknown(environment: dict[str, str]) -> None:
    Store.open(Settings(home=Path(environment["APPRENTICE_HOME"])), migrate=True).close()
    for command in ("status", "versions", "disconnect"):
        refused = run([command, "--project", "9" * 30], environment)
        assert "is not connected" in refused.stderr
        assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_backbones_lists_what_is_ready_and_what_can_be_asked_for(
    environment: dict[str, str],
) -> None:
    shown = run(["backbones", "--json"], environment)

    assert shown.returncode == 0, shown.stderr
    listed = json.loads(shown.stdout)
    ready = {backbone["name"] for backbone in listed["backbones"]}
    families = {family["family"]: family for family in listed["families"]}
    assert {"bundled:lite0", "bundled:lite1", "bundled:lite2"} <= ready
    assert families["timm"]["usable"]
    assert "[keras]" in (families["keras"]["install"] or "[keras]")
    assert listed["default"] == "bundled:lite0"
