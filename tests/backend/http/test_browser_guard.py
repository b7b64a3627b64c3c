"""What a page of another site makes a browser send is refused; Label Studio's own calls are not."""

import pytest
from pydantic import SecretStr

from backend.http.browser_guard import AllowedHosts, split_authority
from store.settings import Settings
from tests.support.web import UID, predict_body, recorded, running

FOREIGN = ("evil.example", "evil.example:9090", "localhost.evil.example", "127.0.0.1.nip.io")


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:9090",
        "127.0.0.1:9090",
        "[::1]:9090",
        "192.168.1.5",
        "[fe80::1]",
        "apprentice:9090",  # a service of Docker Compose
        "apprentice.internal:9090",
        "apprentice.local:9090",
        "host.docker.internal",
        "apprentice.team.svc.cluster.local.",
        "apprentice.team.svc",
    ],
)
def test_names_that_no_foreign_page_has_are_allowed(host):
    assert AllowedHosts.of(Settings()).allows(host)


@pytest.mark.parametrize("host", [*FOREIGN, "", "a b.c", "x.y:port", "user@localhost", "x.y/z"])
def test_other_names_are_not(host):
    assert not AllowedHosts.of(Settings()).allows(host)


def test_the_public_url_and_listed_names_are_allowed():
    hosts = AllowedHosts.of(
        Settings(public_url="https://ml.example.com/apprentice", allowed_hosts="a.b, *.c.d")
    )
    assert all(
        map(hosts.allows, ("ml.example.com", "ML.example.com:443", "a.b", "x.c.d", "y.x.c.d"))
    )
    assert not any(map(hosts.allows, ("example.com", "b.b", "c.d", "xc.d", "evil.example")))
    assert AllowedHosts.of(Settings(allowed_hosts="*")).allows("evil.example")


def test_a_default_port_is_as_none():
    assert split_authority("Host.X:443") == split_authority("host.x.") == ("host.x", None)


@pytest.mark.parametrize("host", FOREIGN)
def test_no_foreign_name_is_answered(web_module, host):
    headers = {"Host": host}
    for path in ("/health", "/", "/metrics", "/api/v1/status", "/versions"):
        assert web_module.http.get(path, headers=headers).status_code == 403, path
    answer = web_module.http.post("/setup", json=recorded("setup"), headers=headers)
    assert answer.status_code == 403
    assert "APPRENTICE_ALLOWED_HOSTS" in answer.json()["error"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:8080"},  # Label Studio's own page, or one put into it
        {"Origin": "http://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": 'multipart/form-data; boundary="application/json"'},
        {"Content-Type": ""},
    ],
)
def test_pages_of_other_sites_change_nothing(web_module, headers):
    json = {"Content-Type": "application/json"}
    calls = (
        ("/setup", b'{"project":"77.1700000000","schema":"<View/>"}'),
        ("/predict", b'{"project":"77.1700000000","tasks":[]}'),
        ("/train", b'{"project":"77.1700000000"}'),
        ("/webhook", b'{"action":"START_TRAINING","project":{"id":77}}'),
        ("/job_status", b'{"job":"x"}'),
        ("/api/v1/projects/1/train", b"{}"),
        ("/api/v1/projects/1/rollback", b"{}"),
    )
    for path, body in calls:
        answer = web_module.http.post(path, content=body, headers=json | headers)
        assert answer.status_code in (403, 415), path
    if "Content-Type" not in headers:  # it takes no body, so none has to be declared
        for path in ("/api/v1/projects/1/cancel", "/", "/c/default"):
            assert web_module.http.post(path, headers=headers).status_code == 403, path
    assert web_module.http.get("/api/v1/projects").json() == []


def test_a_body_without_a_type_is_refused_and_no_body_is_not(web_module):
    assert web_module.http.post("/setup", content=b"{}").status_code == 415
    assert web_module.http.post("/setup", content=iter([b"{}"])).status_code == 415
    assert web_module.http.post("/").status_code == 200


def test_own_pages_and_those_behind_a_proxy_are_let_in(web):
    port = web.http.base_url.port
    body = {"project": UID}
    for headers in (
        {"Origin": f"http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"},
        {"Host": f"apprentice.local:{port}", "Origin": f"http://apprentice.local:{port}"},
        {"Origin": "https://ml.internal", "X-Forwarded-Host": "ml.internal"},
        {"Sec-Fetch-Site": "none"},
        {"Content-Type": "application/json; charset=utf-8"},
    ):
        assert web.post("/train", body, **headers).status_code == 404, headers


def test_label_studios_calls_come_in_by_any_name_with_the_password(web_settings):
    protected = web_settings.model_copy(
        update={"basic_auth_user": "ann", "basic_auth_pass": SecretStr("pw")}
    )
    with running(protected) as web:
        host = {"Host": "ml.studio.example:9090", "X-Forwarded-For": "10.0.0.9"}
        for path, body in (
            ("/setup", recorded("setup")),
            ("/predict", predict_body([])),
            ("/webhook", recorded("start_training")),
        ):
            answer = web.http.post(path, json=body, headers=host, auth=("ann", "pw"))
            assert answer.status_code in (200, 503), path
        event = web.http.post(
            "/webhook", json=recorded("project_updated"), headers=host | web.secret
        )
        assert event.status_code == 200
        assert web.http.get("/health", headers=host).status_code == 401
        # A browser sends the password that it knows: the origin counts even so.
        forged = web.http.post(
            "/setup", json=recorded("setup"), auth=("ann", "pw"), headers={"Origin": "http://e.x"}
        )
        assert forged.status_code == 403
