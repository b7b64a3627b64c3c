"""A model for a server of label-studio-ml that passes everything on to Apprentice.

For teams that keep such a server in front of Label Studio. It needs nothing but label-studio-ml,
1.0.9 or 2.x, and these variables:

- `APPRENTICE_URL`: where Apprentice is, `http://localhost:9090` by default; `/c/ID` at its end
  names a connection, `http://USER:PASSWORD@HOST:9090` sends credentials
- `APPRENTICE_SECRET`: the secret of its webhook. Without it, Apprentice finds new annotations by
  reading Label Studio, some seconds later.
"""

from __future__ import annotations

import base64
import json
import os
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from label_studio_ml.model import LabelStudioMLBase

START_TRAINING = "START_TRAINING"
PREDICT_SECONDS = 95  # Label Studio waits for 100
SECONDS = 10  # for everything else


class ApprenticeError(RuntimeError):
    """Apprentice gave no answer: Label Studio then saves nothing, and asks again."""


class ApprenticeModel(LabelStudioMLBase):  # type: ignore[misc, unused-ignore]
    """Answers with Apprentice's suggestions, and tells it when to train."""

    def setup(self) -> None:
        """Take over the version that Apprentice serves (2.x calls this for every request)."""
        if not self.project_id:
            return
        body = {"project": self.project_id, "schema": self.label_config or ""}
        try:
            version = _post("/setup", body, SECONDS).get("model_version")
        except ApprenticeError:
            return  # predict says it, where somebody waits for the answer
        if version:
            self.set("model_version", str(version))

    def predict(
        self, tasks: list[dict[str, Any]], context: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[dict[str, Any]]:
        """Apprentice's predictions for the tasks, in order. Raises ApprenticeError."""
        project = getattr(self, "project_id", "") or _project_of(tasks)
        body = {
            "tasks": tasks,
            "project": str(project),
            "label_config": self.label_config or "",
            "params": {**kwargs, "context": context or None},
        }
        results: list[dict[str, Any]] = _post("/predict", body, PREDICT_SECONDS)["results"]
        return results

    def fit(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Pass an event on: `fit(event, data)` of 2.x, or `fit(tasks, event=, data=)` of 1.0.9."""
        event = kwargs.get("event") or (args[0] if args and isinstance(args[0], str) else "")
        data = kwargs.get("data") or (args[1] if len(args) > 1 else {})
        secret = os.environ.get("APPRENTICE_SECRET")
        if event != START_TRAINING and not secret:
            return {}
        headers = {"X-Apprentice-Secret": secret} if secret else {}
        return _post("/webhook", {**data, "action": event}, SECONDS, headers)


def _project_of(tasks: list[dict[str, Any]]) -> str:
    """The project that the tasks say they belong to: 1.0.9 doesn't tell the model."""
    return next((str(task["project"]) for task in tasks if task.get("project")), "")


def _post(
    path: str, body: dict[str, Any], seconds: float, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    """Send a request to Apprentice. Raises ApprenticeError."""
    parts = urlsplit(os.environ.get("APPRENTICE_URL") or "http://localhost:9090")
    if parts.scheme not in {"http", "https"}:
        raise ApprenticeError(f"APPRENTICE_URL must begin with http:// or https://, not {parts}")
    host = parts.netloc.rpartition("@")[2]
    url = urlunsplit((parts.scheme, host, parts.path.rstrip("/") + path, "", ""))
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked
        url,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", **(headers or {})},
    )
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=seconds) as response:  # noqa: S310
            answer: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as error:
        raise ApprenticeError(f"Apprentice answers {error.code}: {_reason(error)}") from error
    except (OSError, ValueError) as error:
        raise ApprenticeError(f"Apprentice doesn't answer at {host}: {error}") from error
    return answer


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (OSError, ValueError, KeyError, TypeError):
        return "no reason given"
