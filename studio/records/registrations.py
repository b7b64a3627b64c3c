"""Registrations of a project: machine-learning backends and webhooks."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, PlainValidator

from studio.records.base import Record
from studio.records.fields import Count, Flag, Id, Reference, Text, text


def _text_or_none(value: Any) -> str | None:
    return text(value) or None


def _names(value: Any) -> frozenset[str]:
    return frozenset(map(str, value)) if isinstance(value, list) else frozenset()


def _headers(value: Any) -> dict[str, str]:
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, dict) else {}


TextOrNone = Annotated[str | None, PlainValidator(_text_or_none)]


class BackendInfo(Record):
    """A machine-learning backend that a project is connected to."""

    noun: ClassVar[str] = "backend"

    id: Id
    project: Count = 0
    url: Text = ""
    title: Text = ""
    is_interactive: Flag = False
    basic_auth_user: TextOrNone = None
    has_password: Flag = Field(False, alias="basic_auth_pass_is_set")
    state: Text = ""  # CO connected, DI disconnected, ER error
    error: TextOrNone = Field(None, alias="error_message")

    @property
    def is_connected(self) -> bool:
        """Whether Label Studio has just reached it."""
        return self.state == "CO"


class WebhookInfo(Record):
    """A webhook. `project` is None for one that belongs to the whole organisation."""

    noun: ClassVar[str] = "webhook"

    id: Id
    project: Reference = None
    url: Text = ""
    actions: Annotated[frozenset[str], PlainValidator(_names)] = frozenset()
    headers: Annotated[dict[str, str], PlainValidator(_headers)] = Field(default_factory=dict)
    is_active: Flag = False
    send_payload: Flag = False
    send_for_all_actions: Flag = False
