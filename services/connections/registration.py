"""Our registration in a Label Studio project: the ML backend and the webhook."""

import re
from collections.abc import Callable

import structlog

from services.connections.error_messages import backend_unreached, webhook_unreached
from store.projects.connections import DEFAULT, StudioConnection
from store.projects.projects import Project
from store.settings import Settings
from studio.client import StudioClient
from studio.errors import StudioError
from studio.records.registrations import BackendInfo, WebhookInfo
from studio.records.webhooks import WebhookAction

log = structlog.get_logger()

TITLE = "Apprentice"
SECRET_HEADER = "X-Apprentice-Secret"  # noqa: S105 - a header's name
ACTIONS = frozenset(WebhookAction)  # all of them
LOOPBACK = re.compile(r"^(https?://)(127\.0\.0\.1|\[::1\])(?=[:/]|$)")

Tell = Callable[[str], None]


def backend_url(public_url: str, connection_id: str) -> str:
    """The URL to register in Label Studio, which appends `/predict`, `/setup` and so on."""
    base = public_url.rstrip("/")
    return base if connection_id == DEFAULT else f"{base}/c/{connection_id}"


def webhook_url(backend: str) -> str:
    """The webhook's URL for a backend's URL, the same as Label Studio's own webhook has."""
    return f"{backend.rstrip('/')}/webhook"


def same_url(one: str, other: str) -> bool:
    """Whether two URLs are equal; all names of the loopback address count as the same."""
    return _plain(one) == _plain(other)


def _plain(url: str) -> str:
    return LOOPBACK.sub(r"\1localhost", url.strip().rstrip("/").lower())


def webhook_is_current(webhook: WebhookInfo, url: str, secret: str) -> bool:
    """Whether a webhook sends all our actions to `url` with our secret."""
    return (
        same_url(webhook.url, url)
        and webhook.is_active
        and webhook.send_payload
        and not webhook.send_for_all_actions
        and webhook.actions == ACTIONS
        and webhook.headers == {SECRET_HEADER: secret}
    )


class Registration:
    """Our backend and webhook in one project; `tell` is called with a line for each change."""

    def __init__(
        self,
        studio: StudioClient,
        connection: StudioConnection,
        project: Project,
        settings: Settings,
        url: str,
        tell: Tell,
    ) -> None:
        self.studio = studio
        self.connection = connection
        self.project = project
        self.settings = settings
        self.url = url
        self.tell = tell

    def backends(self) -> tuple[BackendInfo | None, list[BackendInfo]]:
        """Our backend, if it is registered, and all other backends of the project.

        Raises:
            StudioError: they can't be listed.
        """
        listed = self.studio.backends(self.project.ls_id)
        ours = [b for b in listed if same_url(b.url, self.url)]
        ours += [b for b in listed if b.id == self.project.backend_id]
        backend = ours[0] if ours else None
        return backend, [other for other in listed if other is not backend]

    def webhooks(self, backend: str) -> list[WebhookInfo]:
        """Our webhooks, the stored one first."""
        url = webhook_url(backend)
        listed = self.studio.webhooks(self.project.ls_id)
        ours = [w for w in listed if same_url(w.url, url) or w.id == self.project.webhook_id]
        return sorted(ours, key=lambda w: (w.id != self.project.webhook_id, w.id))

    def try_backend(self, existing: BackendInfo | None) -> tuple[BackendInfo | None, str | None]:
        """Ensure our backend, where Label Studio reaches it.

        Returns:
            The backend, if there is one, and why Label Studio doesn't reach it.
        """
        try:
            return self._ensure_backend(existing), None
        except StudioError as error:
            return existing, backend_unreached(error, self.url)

    def try_webhook(self, backend_url: str) -> tuple[WebhookInfo | None, str | None]:
        """Ensure exactly one webhook, with our secret, beside the backend at this URL.

        Returns:
            The webhook, and why Label Studio takes none.
        """
        url = webhook_url(backend_url)
        try:
            return self._ensure_webhook(backend_url, url), None
        except StudioError as error:
            return None, webhook_unreached(error, url)

    def has_current_webhook(self, backend_url: str) -> bool:
        """Whether a webhook of ours is registered just as it should be."""
        url = webhook_url(backend_url)
        return any(
            webhook_is_current(webhook, url, self.connection.secret)
            for webhook in self.webhooks(backend_url)
        )

    def remove_webhooks(self, backend_url: str, reason: str) -> None:
        """Remove our webhooks: where none arrives, each annotation waits a second for it."""
        for webhook in self.webhooks(backend_url):
            self.studio.delete_webhook(webhook.id)
            self.tell(f"webhook {webhook.url} removed: {reason}")

    def _ensure_backend(self, existing: BackendInfo | None) -> BackendInfo:
        """Add our backend, or repair one through which Label Studio can't reach us.

        A backend that works stays as it is, also under another name of this machine.
        """
        auth = self.settings.basic_auth
        if existing is None:
            created = self.studio.create_backend(
                self.project.ls_id, self.url, TITLE, basic_auth=auth
            )
            self.tell(f"backend {self.url} added")
            return created
        works = existing.is_connected
        if works and (auth is None or existing.basic_auth_user == auth[0]):
            return existing
        repaired = self.studio.patch_backend(
            existing.id,
            self.project.ls_id,
            existing.url if works else self.url,
            existing.title,
            is_interactive=existing.is_interactive,
            basic_auth=auth,
        )
        self.tell(f"backend {repaired.url} repaired")
        return repaired

    def _ensure_webhook(self, backend_url: str, url: str) -> WebhookInfo:
        headers = {SECRET_HEADER: self.connection.secret}
        ours = self.webhooks(backend_url)
        for surplus in ours[1:]:
            self.studio.delete_webhook(surplus.id)
            self.tell(f"second webhook to {surplus.url} removed")
        if not ours:
            created = self.studio.create_webhook(
                self.project.ls_id, url, actions=ACTIONS, headers=headers
            )
            self.tell(f"webhook {url} added")
            return created
        if webhook_is_current(ours[0], url, self.connection.secret):
            return ours[0]
        repaired = self.studio.patch_webhook(ours[0].id, url, actions=ACTIONS, headers=headers)
        self.tell(f"webhook {url} set up with our secret")
        return repaired

    def remove(self) -> BackendInfo | None:
        """Remove our backend and our webhooks.

        Returns:
            The removed backend, if there was one.
        """
        backend, _ = self.backends()
        webhooks = self.webhooks(backend.url if backend else self.url)
        if backend is not None:
            self.studio.delete_backend(backend.id)
            self.tell(f"backend {backend.url} removed")
        for webhook in webhooks:
            self.studio.delete_webhook(webhook.id)
            self.tell(f"webhook {webhook.url} removed")
        return backend
