"""Requests of Label Studio to a machine-learning backend: `/setup` and `/predict`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from studio.errors import StudioNonsense
from studio.records.fields import text
from studio.records.projects import ProjectRef


@dataclass(frozen=True)
class SetupRequest:
    """The request `/setup`, sent when a project connects.

    Its `hostname` and `access_token` are left out: they are often wrong, and a token must go where
    the connection says.
    """

    project: ProjectRef
    label_config: str  # empty when the request has none

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> SetupRequest:
        """Read the request's body. Raises StudioNonsense."""
        return cls(ProjectRef.of_request(body), text(body.get("schema")))


@dataclass(frozen=True)
class PredictRequest:
    """The request `/predict`: each of `tasks`, whatever it is, gets an entry in the answer."""

    project: ProjectRef
    label_config: str  # empty when the request has none
    tasks: list[Any]
    interactive: bool  # the annotator's editor asks: Label Studio doesn't keep the answer
    params: Mapping[str, Any] = field(default_factory=dict)  # `context`, credentials of the data

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> PredictRequest:
        """Read the request's body. Raises StudioNonsense when it has no list of tasks."""
        tasks = body.get("tasks")
        if not isinstance(tasks, list):
            raise StudioNonsense('"tasks" must be a list')
        params = body.get("params")
        params = params if isinstance(params, dict) else {}
        interactive = params.get("context") is not None
        project = ProjectRef.of_request(body)
        return cls(project, text(body.get("label_config")), tasks, interactive, params)
