"""Access tokens are exchanged once for all processes of a machine."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.connections.access_tokens import AccessTokenFile
from studio.client import StudioClient
from tests.support.scripted_studio import (
    REFRESH_TOKEN,
    Reply,
    Request,
    ScriptedServer,
    json_reply,
    jwt,
)

WHOAMI, REFRESH = "/api/current-user/whoami", "/api/token/refresh/"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """Exchanges tokens, and accepts the newest access token alone."""
    with ScriptedServer() as server:
        given: list[str] = []

        def exchange(_request: Request) -> Reply:
            given.append(jwt(token_type="access", iat=1000, exp=1300, number=len(given)))
            return json_reply({"access": given[-1]})

        def whoami(request: Request) -> Reply:
            good = bool(given) and request.authorization == f"Bearer {given[-1]}"
            return json_reply({"id": 7, "email": "a@example.com"}, 200 if good else 401)

        server.on(REFRESH, exchange)
        server.on(WHOAMI, whoami)
        yield server


def ask(server: ScriptedServer, home: Path, token: str = REFRESH_TOKEN) -> int:
    """Ask as a new process does; how many exchanges that took."""
    before = len(server.asked(REFRESH))
    memory = AccessTokenFile(home, server.url, token)
    with StudioClient(server.url, token, memory=memory) as client:
        client.whoami()
    return len(server.asked(REFRESH)) - before


def test_a_second_process_needs_no_exchange(server: ScriptedServer, tmp_path: Path) -> None:
    assert [ask(server, tmp_path) for _ in range(3)] == [1, 0, 0]
    (file,) = (tmp_path / "run").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert REFRESH_TOKEN not in file.read_text()


def test_one_that_is_refused_is_exchanged_again_and_replaced(
    server: ScriptedServer, tmp_path: Path
) -> None:
    ask(server, tmp_path)
    (tmp_path / "run").joinpath(next((tmp_path / "run").iterdir()).name).write_text(
        '{"access": "revoked", "until": 8e9}'
    )
    assert [ask(server, tmp_path) for _ in range(2)] == [1, 0]


@pytest.mark.parametrize("content", ['{"access": "old", "until": 1}', "", "[]", "\x00"])
def test_one_that_has_ended_or_is_damaged_is_exchanged_again(
    server: ScriptedServer, tmp_path: Path, content: str
) -> None:
    ask(server, tmp_path)
    next((tmp_path / "run").iterdir()).write_text(content)
    assert [ask(server, tmp_path) for _ in range(2)] == [1, 0]


def test_another_token_has_another_file(server: ScriptedServer, tmp_path: Path) -> None:
    other = jwt(token_type="refresh", exp=8_000_000_000, iat=1, user_id=2)
    assert [ask(server, tmp_path), ask(server, tmp_path, other)] == [1, 1]


def test_a_folder_that_cannot_be_written_costs_only_the_exchange(
    server: ScriptedServer, tmp_path: Path
) -> None:
    (tmp_path / "run").write_text("a file")
    assert [ask(server, tmp_path) for _ in range(2)] == [1, 1]
