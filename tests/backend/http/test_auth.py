import base64

import httpx
import pytest
from pydantic import SecretStr

from backend.http.auth import Credentials, OpenBindingError, check_binding, same_secret
from store.settings import Settings
from tests.support.web import recorded, running

PASSWORD = "pä:ss wörd€"


def basic(user: bytes, password: bytes) -> str:
    return "Basic " + base64.b64encode(user + b":" + password).decode()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.3.2.1"])
def test_loopback_needs_no_password(host):
    check_binding(Settings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "apprentice.example"])
def test_other_addresses_are_refused_without_basic_auth_unless_said(host):
    with pytest.raises(OpenBindingError, match="BASIC_AUTH_USER"):
        check_binding(Settings(host=host))
    check_binding(Settings(host=host, allow_open=True))
    check_binding(Settings(host=host, basic_auth_user="u", basic_auth_pass=SecretStr("p")))


def test_half_a_password_is_refused_even_on_loopback():
    with pytest.raises(OpenBindingError, match="both"):
        check_binding(Settings(basic_auth_user="u"))


def test_the_password_is_compared_as_bytes():
    credentials = Credentials("ann", PASSWORD)
    assert credentials.accept(basic(b"ann", PASSWORD.encode()))
    assert not credentials.accept(basic(b"ann", PASSWORD.encode()[:-1]))
    assert not credentials.accept(basic(b"anna", PASSWORD.encode()))
    assert Credentials("ann", "pä").accept(basic(b"ann", "pä".encode("latin-1")))


@pytest.mark.parametrize(
    "header",
    [None, "", "Basic", "Basic !!!", "Basic YW5u", "Bearer abc", "Basic \udcff", "Basic é"],
)
def test_broken_headers_are_no_credentials(header):
    assert not Credentials("ann", "secret").accept(header)


def test_secrets_of_any_characters_are_compared():
    assert same_secret("geheim", "geheim")
    assert not same_secret("gehéim", "geheim")
    assert not same_secret(None, "geheim")


def test_everything_but_webhooks_asks_for_the_password(web_settings):
    protected = web_settings.model_copy(
        update={"basic_auth_user": "ann", "basic_auth_pass": SecretStr("pw")}
    )
    with running(protected) as web:
        for path in ("/health", "/", "/metrics", "/api/v1/projects", "/c/default/health", "/nope"):
            refused = web.http.get(path)
            assert refused.status_code == 401, path
            assert refused.headers["WWW-Authenticate"].startswith("Basic")
            assert web.http.get(path, auth=("ann", "pw")).status_code != 401, path
        for path in ("/setup", "/predict", "/train", "/webhook/x", "/c/x/y/webhook"):
            assert web.post(path, {}).status_code == 401, path
        # Label Studio sends no credentials with webhooks, only our header.
        assert web.webhook(recorded("annotation_created")).status_code == 200
        assert web.post("/webhook", recorded("annotation_created")).status_code == 401
        # And with START_TRAINING it sends credentials, not the header.
        assert web.post("/webhook", recorded("start_training")).status_code == 401
        accepted = web.http.post(
            "/webhook", json=recorded("start_training"), auth=httpx.BasicAuth("ann", "pw")
        )
        assert accepted.status_code == 200
        assert accepted.json()["job"].startswith("learn-")
