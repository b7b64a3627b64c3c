"""What stands about us in Label Studio: the backend's row and the webhook of one project."""

import re
from collections.abc import Callable

import structlog

from services.connections.error_messages import webhook_refusal
from store.projects.connections import DEFAULT, StudioConnection
from store.projects.projects import Project
from store.settings import Settings
from studio.client import StudioClient
from studio.errors import StudioRejected
from studio.records.registrations import BackendInfo, WebhookInfo
from studio.records.webhooks import WebhookAction

log = structlog.get_logger()

TITLE = "Apprentice"
SECRET_HEADER = "X-Apprentice-Secret"  # noqa: S105 - a header's name
ACTIONS = frozenset(WebhookAction)  # all of them
CONNECTED = "CO"  # a backend's state when Label Studio has just reached it
LOOPBACK = re.compile(r"^(https?://)(127\.0\.0\.1|\[::1\])(?=[:/]|$)")

Tell = Callable[[str], None]


def backend_url(public_url: str, connection_id: str) -> str:
    """The URL to be registered in Label Studio: it appends `/predict` and the like."""
    base = public_url.rstrip("/")
    return base if connection_id == DEFAULT else f"{base}/c/{connection_id}"


def webhook_url(backend: str) -> str:
    """Where webhooks go, given the backend's URL; Label Studio itself makes one to the same."""
    return f"{backend.rstrip('/')}/webhook"


def same_url(one: str, other: str) -> bool:
    """Whether both are one address; the names of this machine's loopback count as the same."""
    return _plain(one) == _plain(other)


def _plain(url: str) -> str:
    return LOOPBACK.sub(r"\1localhost", url.strip().rstrip("/").lower())


def webhook_is_right(webhook: WebhookInfo, url: str, secret: str) -> bool:
    """Whether it sends what we need, to us, with our secret."""
    return (
        same_url(webhook.url, url)
        and webhook.is_active
        and webhook.send_payload
        and not webhook.send_for_all_actions
        and webhook.actions == ACTIONS
        and webhook.headers == {SECRET_HEADER: secret}
    )


class Registration:
    """Our row and our webhook in one project; `tell` is given a line for each change."""

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
        """Our row, if there is one, and all others."""
        listed = self.studio.backends(self.project.ls_id)
        ours = [b for b in listed if same_url(b.url, self.url)]
        ours += [b for b in listed if b.id == self.project.backend_id]
        mine = ours[0] if ours else None
        return mine, [b for b in listed if b is not mine]

    def webhooks(self, backend: str) -> list[WebhookInfo]:
        """Our webhooks; the one that we know comes first."""
        url = webhook_url(backend)
        listed = self.studio.webhooks(self.project.ls_id)
        ours = [w for w in listed if same_url(w.url, url) or w.id == self.project.webhook_id]
        return sorted(ours, key=lambda w: (w.id != self.project.webhook_id, w.id))

    def ensure_backend(self, known: BackendInfo | None) -> BackendInfo:
        """Add our row, or mend it where Label Studio doesn't reach us by it.

        A row that works stays as it is, also under another name of this machine.
        """
        auth = self.settings.basic_auth
        if known is None:
            created = self.studio.create_backend(
                self.project.ls_id, self.url, TITLE, basic_auth=auth
            )
            self.tell(f"backend {self.url} added")
            return created
        works = known.state == CONNECTED
        if works and (auth is None or known.basic_auth_user == auth[0]):
            return known
        mended = self.studio.patch_backend(
            known.id,
            self.project.ls_id,
            known.url if works else self.url,
            known.title,
            is_interactive=known.is_interactive,
            basic_auth=auth,
        )
        self.tell(f"backend {mended.url} repaired")
        return mended

    def ensure_webhook(self, backend: BackendInfo) -> WebhookInfo | None:
        """Exactly one webhook, with our secret; None when Label Studio refuses it."""
        url, headers = webhook_url(backend.url), {SECRET_HEADER: self.connection.secret}
        ours = self.webhooks(backend.url)
        for surplus in ours[1:]:
            self.studio.delete_webhook(surplus.id)
            self.tell(f"second webhook to {surplus.url} removed")
        try:
            if not ours:
                made = self.studio.create_webhook(
                    self.project.ls_id, url, actions=ACTIONS, headers=headers
                )
                self.tell(f"webhook {url} added")
                return made
            if webhook_is_right(ours[0], url, self.connection.secret):
                return ours[0]
            mended = self.studio.patch_webhook(ours[0].id, url, actions=ACTIONS, headers=headers)
        except StudioRejected as error:
            self.tell(webhook_refusal(error, url, self.settings.reconcile_seconds))
            return None
        self.tell(f"webhook {url} set up with our secret")
        return mended

    def remove(self) -> BackendInfo | None:
        """Remove our row and our webhooks.

        Returns:
            The row that was there.
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
