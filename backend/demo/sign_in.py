"""Signs in as a browser does to create a Personal Access Token, which the API alone can't."""

from __future__ import annotations

import httpx

TIMEOUT = 60.0  # seconds; the first page after a start is slow


class SignInError(Exception):
    """Signing in failed, or no token was created."""


def make_token(url: str, email: str, password: str) -> str:
    """Sign in and create the user's Personal Access Token. Raises SignInError.

    There is one token a user and it is shown once: when there is one already, this fails.
    """
    with _browser(url) as browser:
        answer = _post_form(browser, "/user/login/", {"email": email, "password": password})
        if answer.status_code != 302:
            raise SignInError(f"{url} does not accept the login of {email}")
        answer = browser.post("/api/token/", headers=_csrf(browser))
        if answer.status_code == 409:
            raise SignInError(
                f"{email} has a Personal Access Token already, and Label Studio shows it once: "
                "revoke it there under Account & Settings, or start with an empty data folder"
            )
        if answer.status_code != 201:
            raise SignInError(f"{url} gives {email} no token: {answer.status_code}")
        return str(answer.json()["token"])


def sign_up(url: str, email: str, password: str) -> None:
    """Create a user of the server's organisation. Raises SignInError."""
    with _browser(url) as browser:
        form = {"email": email, "password": password, "allow_newsletters": "false"}
        answer = _post_form(browser, "/user/signup/", form)
        if answer.status_code != 302:
            raise SignInError(f"{url} does not let {email} sign up: {answer.status_code}")


def _browser(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=TIMEOUT, follow_redirects=False)


def _post_form(browser: httpx.Client, path: str, form: dict[str, str]) -> httpx.Response:
    browser.get(path).raise_for_status()
    form = {**form, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
    return browser.post(path, data=form, headers=_csrf(browser))


def _csrf(browser: httpx.Client) -> dict[str, str]:
    return {"X-CSRFToken": browser.cookies["csrftoken"], "Referer": str(browser.base_url)}
