from pydantic import SecretStr

from backend.http.login_throttle import WRONG, WRONG_ALL, LoginThrottle
from tests.support.web import running


def test_an_address_with_many_wrong_passwords_is_blocked_alone():
    throttle = LoginThrottle()
    passed = [throttle.passes("10.0.0.1", accepted=False) for _ in range(WRONG + 1)]
    assert passed == [True] * WRONG + [False]
    assert throttle.blocks("10.0.0.1")
    assert not throttle.blocks("10.0.0.2")


def test_who_gave_the_right_password_is_never_blocked():
    throttle = LoginThrottle()
    assert throttle.passes("10.0.0.1", accepted=True)
    for _ in range(500):
        throttle.passes("10.0.0.1", accepted=False)
    assert not throttle.blocks("10.0.0.1")
    assert throttle.passes("10.0.0.1", accepted=True)


def test_a_network_of_ipv6_is_one_address():
    throttle = LoginThrottle()
    for number in range(WRONG + 1):
        throttle.passes(f"2001:db8::{number:x}", accepted=False)
    assert throttle.blocks("2001:db8::ffff")
    assert not throttle.blocks("2001:db8:0:1::1")


def test_guesses_from_everywhere_are_limited_together():
    throttle = LoginThrottle()
    for number in range(WRONG_ALL + 1):
        throttle.passes(f"10.1.{number // 250}.{number % 250}", accepted=False)
    assert throttle.blocks("10.9.9.9")


def test_guessing_ends_and_label_studio_goes_on(web_settings):
    protected = web_settings.model_copy(
        update={"basic_auth_user": "ann", "basic_auth_pass": SecretStr("pw")}
    )
    with running(protected) as web:
        assert web.http.get("/health", auth=("ann", "pw")).status_code == 200
        known = [web.http.get("/health", auth=("ann", f"x{n}")).status_code for n in range(50)]
        assert web.http.get("/health", auth=("ann", "pw")).status_code == 200
        stranger = {"X-Forwarded-For": "203.0.113.7"}
        codes = [
            web.http.get("/health", auth=("ann", f"x{n}"), headers=stranger) for n in range(50)
        ]
        assert set(known) == {401, 429}
        assert [answer.status_code for answer in codes].count(401) == WRONG
        assert int(codes[-1].headers["Retry-After"]) > 0
        # Not even the right one is compared.
        last = web.http.get("/health", auth=("ann", "pw"), headers=stranger)
        assert last.status_code == 429
        # Who sends no password guesses none.
        assert web.http.get("/health").status_code == 401
