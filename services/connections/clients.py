"""API clients and image loaders for the Label Studio of a connection."""

from collections.abc import Callable

from services.connections.access_tokens import AccessTokenFile
from store.projects.connections import StudioConnection, get_connection
from store.settings import Settings
from store.store import Store
from studio.client import StudioClient
from studio.images.addresses import parse_addresses
from studio.images.loader import HostPlaces, ImageLoader, ImagePolicy


class UnknownConnectionError(Exception):
    """The connection is not in the database."""


def studio_for(
    store: Store, connection_id: str, *, before_change: Callable[[], None] | None = None
) -> StudioClient:
    """A client for the connection's Label Studio; close it after use.

    Args:
        before_change: called before each request that changes something; what it raises stops it.

    Raises:
        UnknownConnectionError: there is no such connection.
    """
    connection = known_connection(store, connection_id)
    memory = AccessTokenFile(store.settings.home, connection.url, connection.token)
    client = StudioClient(connection.url, connection.token, memory=memory)
    client.http.before_change = before_change
    client.aliases = connection.aliases
    return client


def known_connection(store: Store, connection_id: str) -> StudioConnection:
    """The connection.

    Raises:
        UnknownConnectionError: there is no such connection.
    """
    with store.database.read() as db:
        connection = get_connection(db, connection_id)
    if connection is None:
        raise UnknownConnectionError(
            f"no connection {connection_id!r}: set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY, "
            "or run `apprentice connect`"
        )
    return connection


def image_policy(settings: Settings) -> ImagePolicy:
    """The limits on images, from the settings."""
    return ImagePolicy(
        max_bytes=settings.image_max_bytes,
        max_pixels=settings.image_max_pixels,
        max_seconds=settings.image_timeout_seconds,
        addresses=parse_addresses(settings.image_private_addresses),
    )


def image_loader(store: Store, connection_id: str, places: HostPlaces | None = None) -> ImageLoader:
    """A loader for the images of the connection's tasks; `places` limits each host's share.

    Raises:
        UnknownConnectionError: there is no such connection.
    """
    return ImageLoader(studio_for(store, connection_id), image_policy(store.settings), places)
