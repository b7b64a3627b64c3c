"""Connections: Label Studio servers, each with its token and webhook secret."""

import secrets
import time
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from store.database.schema import connection
from store.projects.key_values import Key
from store.projects.tokens import read_token, store_token
from store.settings import Settings
from store.work.pending_work import retry_now

DEFAULT = "default"


@dataclass(frozen=True)
class StudioConnection:
    """One Label Studio server. `id` appears in our URL, `/c/ID`."""

    id: str
    url: str
    token: str = field(repr=False)
    secret: str = field(repr=False)  # the value of the header that its webhooks carry
    aliases: tuple[str, ...] = ()  # other addresses by which its tasks name its files


def connection_aliases(connection_id: str) -> Key[list[str]]:
    """The key of the connection's aliases."""
    return Key(f"aliases:{connection_id}")


def other_addresses(connection_id: str) -> Key[list[str]]:
    """The key of addresses that look like aliases and are none."""
    return Key(f"other_addresses:{connection_id}")


def _record(db: Connection, row: Row[Any]) -> StudioConnection:
    aliases = connection_aliases(row.id).get(db) or ()
    token = read_token(db, row.id, row.url, row.token)
    return StudioConnection(row.id, row.url, token, row.secret, tuple(aliases))


def get_connection(db: Connection, connection_id: str) -> StudioConnection | None:
    """The connection, or None when it is unknown."""
    row = db.execute(select(connection).where(connection.c.id == connection_id)).first()
    return None if row is None else _record(db, row)


def list_connections(db: Connection) -> list[StudioConnection]:
    """All connections, the oldest first."""
    rows = db.execute(select(connection).order_by(connection.c.created_at)).all()
    return [_record(db, row) for row in rows]


def save_connection(db: Connection, connection_id: str, url: str, token: str) -> StudioConnection:
    """Create the connection, or change its URL and token; its secret stays."""
    existing = get_connection(db, connection_id)
    if existing is None:
        secret = secrets.token_urlsafe(32)
        stored = store_token(db, connection_id, url, token)
        db.execute(
            insert(connection).values(
                id=connection_id, url=url, token=stored, secret=secret, created_at=time.time()
            )
        )
        return StudioConnection(connection_id, url, token, secret)
    if (existing.url, existing.token) != (url, token):
        stored = store_token(db, connection_id, url, token)
        db.execute(
            update(connection).where(connection.c.id == connection_id).values(url=url, token=stored)
        )
        retry_now(db, connection_id)
    if existing.url != url:
        for key in (connection_aliases(connection_id), other_addresses(connection_id)):
            key.delete(db)
        existing = replace(existing, aliases=())
    return replace(existing, url=url, token=token)


def ensure_default(db: Connection, settings: Settings) -> StudioConnection | None:
    """The default connection, brought in line with the settings; None when they name none."""
    if settings.label_studio_url and settings.label_studio_api_key:
        token = settings.label_studio_api_key.get_secret_value()
        return save_connection(db, DEFAULT, settings.label_studio_url, token)
    return get_connection(db, DEFAULT)
