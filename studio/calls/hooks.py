"""Calls that connect a project to us: machine-learning backends and webhooks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from studio.calls.base import Calls, as_list, missing_project
from studio.errors import Refusal, StudioError
from studio.records.registrations import BackendInfo, WebhookInfo

# Seconds. To add, change or list backends, Label Studio calls each one's /health and /setup first.
BACKEND_TIMEOUT = 60.0
NO_PROJECT = 0  # an id that no project has: what is sent with it is validated and then refused


class HookCalls(Calls):
    """Calls for a project's machine-learning backends and for webhooks."""

    def backends(self, project: int) -> list[BackendInfo]:
        """List the project's backends. Label Studio calls each of them before it answers."""
        body = self.http.call(
            "GET", "/api/ml/", params={"project": project}, timeout=BACKEND_TIMEOUT
        )
        return list(map(BackendInfo.from_json, as_list(body, "backends")))

    def create_backend(
        self,
        project: int,
        url: str,
        title: str,
        *,
        is_interactive: bool = False,
        basic_auth: tuple[str, str] | None = None,
    ) -> BackendInfo:
        """Connect a backend. It must be up: Label Studio calls /health and /setup at once.

        Side effects: `project.model_version` becomes the title, and Label Studio makes a webhook
        for all actions to URL/webhook if it finds the URL good. A private address is refused with
        `StudioRejected` (status 403) while `ML_BLOCK_LOCAL_IP` is on.
        """
        body = _backend(project, url, title, is_interactive, basic_auth)
        answer = self.http.call("POST", "/api/ml/", json=body, timeout=BACKEND_TIMEOUT)
        return BackendInfo.from_json(answer)

    def patch_backend(
        self,
        backend: int,
        project: int,
        url: str,
        title: str,
        *,
        is_interactive: bool = False,
        basic_auth: tuple[str, str] | None = None,
    ) -> BackendInfo:
        """Change a backend. All fields are sent: Label Studio can't check a few of them alone."""
        body = _backend(project, url, title, is_interactive, basic_auth)
        answer = self.http.call("PATCH", f"/api/ml/{backend}", json=body, timeout=BACKEND_TIMEOUT)
        return BackendInfo.from_json(answer)

    def delete_backend(self, backend: int) -> None:
        """Disconnect a backend. Its webhook stays behind."""
        self.http.call("DELETE", f"/api/ml/{backend}", timeout=BACKEND_TIMEOUT)

    def backend_refusal(self, url: str) -> Refusal | None:
        """Why Label Studio would refuse a backend with this URL, None if it would take it."""
        return self._refusal("/api/ml/", url)

    def webhook_refusal(self, url: str) -> Refusal | None:
        """Why Label Studio would refuse a webhook to this URL, None if it would take it."""
        return self._refusal("/api/webhooks/", url)

    def _refusal(self, path: str, url: str) -> Refusal | None:
        try:
            self.http.call("POST", path, json={"url": url, "project": NO_PROJECT}, timeout=30.0)
        except StudioError as error:
            return error.refusal
        return None

    def webhooks(self, project: int | None = None) -> list[WebhookInfo]:
        """List the project's webhooks, or all that the token may see."""
        params = {} if project is None else {"project": project}
        with missing_project(project):
            body = self.http.call("GET", "/api/webhooks/", params=params)
        return list(map(WebhookInfo.from_json, as_list(body, "webhooks")))

    def create_webhook(
        self, project: int, url: str, *, actions: Iterable[str], headers: Mapping[str, str]
    ) -> WebhookInfo:
        """Have `actions` (names such as ANNOTATION_CREATED) sent to `url` with `headers`.

        A host without a dot is refused (`StudioRejected`), except localhost.
        """
        body = {"project": project, **_webhook(url, actions, headers)}
        return WebhookInfo.from_json(self.http.call("POST", "/api/webhooks/", json=body))

    def patch_webhook(
        self, webhook: int, url: str, *, actions: Iterable[str], headers: Mapping[str, str]
    ) -> WebhookInfo:
        """Make a webhook exactly this, and active. (A PATCH without actions would wipe them.)"""
        body = _webhook(url, actions, headers)
        return WebhookInfo.from_json(
            self.http.call("PATCH", f"/api/webhooks/{webhook}/", json=body)
        )

    def delete_webhook(self, webhook: int) -> None:
        """Delete a webhook."""
        self.http.call("DELETE", f"/api/webhooks/{webhook}/")


def _backend(
    project: int,
    url: str,
    title: str,
    is_interactive: bool,
    basic_auth: tuple[str, str] | None,
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "project": project,
        "url": url,
        "title": title,
        "is_interactive": is_interactive,
        "auth_method": "NONE",
    }
    if basic_auth is not None:
        user, password = basic_auth
        body |= {
            "auth_method": "BASIC_AUTH",
            "basic_auth_user": user,
            "basic_auth_pass": password,
        }
    return body


def _webhook(url: str, actions: Iterable[str], headers: Mapping[str, str]) -> dict[str, Any]:
    return {
        "url": url,
        "actions": sorted(actions),
        "headers": dict(headers),
        "send_payload": True,
        "send_for_all_actions": False,
        "is_active": True,
    }
