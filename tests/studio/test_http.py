"""Tokens, errors and limits of the client, against a scripted server."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from studio.client import StudioClient
from studio.errors import (
    StudioError,
    StudioNonsense,
    StudioNotFound,
    StudioRejected,
    StudioUnauthorized,
    StudioUnreachable,
)
from tests.support.scripted_studio import (
    LEGACY_TOKEN,
    REFRESH_TOKEN,
    Reply,
    Request,
    ScriptedServer,
    json_reply,
    jwt,
)

WHOAMI = "/api/current-user/whoami"
REFRESH = "/api/token/refresh/"
USER = {"id": 7, "email": "a@example.com", "a_field_of_tomorrow": [1]}


def give_tokens(server: ScriptedServer, *, iat: int = 1000, lifetime: int = 300) -> list[str]:
    """Exchange refresh tokens for numbered access tokens; return those given so far."""
    given: list[str] = []

    def exchange(_request: Request) -> Reply:
        given.append(jwt(token_type="access", iat=iat, exp=iat + lifetime, number=len(given)))
        return json_reply({"access": given[-1]})

    server.on(REFRESH, exchange)
    return given


def test_a_personal_access_token_is_exchanged_once_and_only_the_access_token_is_sent(
    server: ScriptedServer,
) -> None:
    given = give_tokens(server)
    server.on(WHOAMI, json_reply(USER))
    with StudioClient(server.url, REFRESH_TOKEN) as client:
        assert client.whoami().email == "a@example.com"
        client.whoami()
    assert len(given) == 1
    assert [request.authorization for request in server.asked(WHOAMI)] == [f"Bearer {given[0]}"] * 2
    assert all(REFRESH_TOKEN not in str(request.headers) for request in server.requests)


def test_a_server_whose_clock_is_years_off_gives_usable_tokens(server: ScriptedServer) -> None:
    given = give_tokens(server, iat=10)
    server.on(WHOAMI, json_reply(USER))
    with StudioClient(server.url, REFRESH_TOKEN) as client:
        client.whoami()
        client.whoami()
    assert len(given) == 1


def test_threads_that_start_together_share_one_exchange(server: ScriptedServer) -> None:
    given = give_tokens(server)
    server.on(WHOAMI, json_reply(USER))
    with StudioClient(server.url, REFRESH_TOKEN) as client, ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(lambda _: client.whoami(), range(24)))) == 24
    assert len(given) == 1


def test_a_refused_access_token_is_renewed_once_and_the_call_sent_again(
    server: ScriptedServer,
) -> None:
    given = give_tokens(server)

    def first_token_is_revoked(request: Request) -> Reply:
        revoked = request.authorization == f"Bearer {given[0]}"
        return json_reply({"detail": "expired"}, 401) if revoked else json_reply(USER)

    server.on(WHOAMI, first_token_is_revoked)
    with StudioClient(server.url, REFRESH_TOKEN) as client:
        assert client.whoami().id == 7
    assert len(given) == 2


def test_a_token_that_stays_refused_is_tried_twice_and_no_more(server: ScriptedServer) -> None:
    give_tokens(server)
    server.on(WHOAMI, json_reply({"detail": "no"}, 401))
    with (
        StudioClient(server.url, REFRESH_TOKEN) as client,
        pytest.raises(StudioUnauthorized, match="no"),
    ):
        client.whoami()
    assert len(server.asked(WHOAMI)) == 2


def test_a_revoked_personal_access_token_says_what_to_do(server: ScriptedServer) -> None:
    server.on(REFRESH, json_reply({"detail": "Token is blacklisted"}, 401))
    with (
        StudioClient(server.url, REFRESH_TOKEN) as client,
        pytest.raises(StudioUnauthorized, match=r"blacklisted.*create a new one"),
    ):
        client.whoami()


def test_a_legacy_token_is_sent_as_it_is_and_never_twice(server: ScriptedServer) -> None:
    server.on(WHOAMI, json_reply({"detail": "legacy tokens are disabled"}, 401))
    with (
        StudioClient(server.url, LEGACY_TOKEN) as client,
        pytest.raises(StudioUnauthorized, match="legacy tokens are disabled"),
    ):
        client.whoami()
    assert [request.authorization for request in server.requests] == [f"Token {LEGACY_TOKEN}"]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, StudioRejected),
        (403, StudioRejected),
        (404, StudioNotFound),
        (409, StudioRejected),
        (429, StudioUnreachable),
        (500, StudioUnreachable),
        (502, StudioUnreachable),
        (503, StudioUnreachable),
    ],
)
def test_a_status_becomes_an_error_with_the_servers_words(
    server: ScriptedServer, status: int, error: type[StudioError]
) -> None:
    server.on(WHOAMI, json_reply({"detail": "because of the moon"}, status, **{"Retry-After": "7"}))
    with (
        StudioClient(server.url, LEGACY_TOKEN) as client,
        pytest.raises(error, match="because of the moon") as caught,
    ):
        client.whoami()
    assert type(caught.value) is error
    assert caught.value.status == status
    if isinstance(caught.value, StudioUnreachable):
        assert caught.value.retry_after == 7.0


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"<html>a proxy's page</html>", {"Content-Type": "text/html"}),
        json_reply(["a", "list"]),
        json_reply({"email": "an id is missing"}),
        json_reply({"id": "seven"}),
        Reply(200, b""),
    ],
)
def test_nonsense_is_a_passing_fault(server: ScriptedServer, reply: Reply) -> None:
    server.on(WHOAMI, reply)
    with StudioClient(server.url, LEGACY_TOKEN) as client, pytest.raises(StudioNonsense):
        client.whoami()


def test_a_redirect_is_not_followed_and_the_token_stays(
    server: ScriptedServer, stranger: ScriptedServer
) -> None:
    server.on(WHOAMI, Reply(302, headers={"Location": stranger.url + WHOAMI}))
    with (
        StudioClient(server.url, LEGACY_TOKEN) as client,
        pytest.raises(StudioRejected, match=stranger.url),
    ):
        client.whoami()
    assert stranger.requests == []


def test_the_token_is_not_streamed_to_another_origin(
    server: ScriptedServer, stranger: ScriptedServer
) -> None:
    with (
        StudioClient(server.url, LEGACY_TOKEN) as client,
        pytest.raises(ValueError, match="is not on"),
        client.http.stream(stranger.url + "/x"),
    ):
        pass
    assert stranger.requests == []


def test_no_server_is_a_passing_fault() -> None:
    with ScriptedServer() as gone:
        url = gone.url
    with StudioClient(url, LEGACY_TOKEN) as client, pytest.raises(StudioUnreachable) as caught:
        client.whoami()
    assert caught.value.status is None


def test_a_server_that_never_answers_is_a_passing_fault_and_its_time_is_counted(
    server: ScriptedServer,
) -> None:
    done = threading.Event()

    def wait(_request: Request) -> Reply:
        done.wait(30)
        return json_reply(USER)

    server.on(WHOAMI, wait)
    with StudioClient(server.url, LEGACY_TOKEN, timeout=0.2) as client:
        with pytest.raises(StudioUnreachable, match="in time"):
            client.whoami()
        assert client.seconds_spent >= 0.2
    done.set()


def test_cookies_are_not_kept(server: ScriptedServer) -> None:
    server.on(WHOAMI, json_reply(USER, **{"Set-Cookie": "sessionid=1; Path=/"}))
    with StudioClient(server.url, LEGACY_TOKEN) as client:
        client.whoami()
        client.whoami()
    assert all("cookie" not in request.headers for request in server.requests)


def test_a_path_prefix_belongs_to_every_call(server: ScriptedServer) -> None:
    server.on("/label-studio" + WHOAMI, json_reply(USER))
    with StudioClient(server.url + "/label-studio/", LEGACY_TOKEN) as client:
        assert client.whoami().id == 7


@pytest.mark.parametrize(
    ("url", "token"),
    [
        ("localhost:8080", LEGACY_TOKEN),
        ("ftp://localhost", LEGACY_TOKEN),
        ("", LEGACY_TOKEN),
        ("http://user:password@localhost", LEGACY_TOKEN),
        ("http://localhost/?x=1", LEGACY_TOKEN),
        ("http://localhost:99999", LEGACY_TOKEN),
        ("http://localhost", ""),
        ("http://localhost", "two words"),
        ("http://localhost", "a\nb"),
        ("http://localhost", "tökén"),
    ],
)
def test_an_impossible_url_or_token_is_refused_at_once(url: str, token: str) -> None:
    with pytest.raises(ValueError):
        StudioClient(url, token)


def test_a_proxy_of_the_environment_is_used_except_where_it_is_not_to_be(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "no_proxy", "NO_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with ScriptedServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        elsewhere = "http://labels.example.com/labels"
        proxy.on(f"{elsewhere}{WHOAMI}", json_reply(USER))
        with StudioClient(elsewhere, LEGACY_TOKEN) as client:
            assert client.whoami().id == USER["id"]
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        server.on(WHOAMI, json_reply(USER))
        with StudioClient(server.url, LEGACY_TOKEN) as client:
            assert client.whoami().id == USER["id"]
        assert len(proxy.requests) == 1
