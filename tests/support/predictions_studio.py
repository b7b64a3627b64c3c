"""A scripted Label Studio that holds predictions."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from store.projects.connections import DEFAULT, save_connection
from store.store import Store
from tests.support.scripted_studio import LEGACY_TOKEN, Reply, Request, ScriptedServer, json_reply
from tests.support.workbench import label_config


class PredictionsStudio:
    """A Label Studio that holds predictions, as far as publishing asks it."""

    def __init__(self, server: ScriptedServer) -> None:
        self.server = server
        self.predictions: dict[int, dict[str, Any]] = {}
        self.before_import = lambda: None
        self.after_import = lambda: None
        server.on("/api/projects/1/import/predictions", self._import)
        server.on("/api/predictions/", self._list_or_create)
        server.on(
            "/api/projects/1/",
            json_reply(
                {
                    "id": 1,
                    "title": "Pets",
                    "label_config": label_config(),
                    "created_at": "1970-01-01T00:16:40Z",
                }
            ),
        )

    def _list_or_create(self, request: Request) -> Reply:
        if request.method == "GET":
            return json_reply(list(self.predictions.values()))
        (created,) = self._add([json.loads(request.body)])
        return json_reply(created, status=201)

    def _import(self, request: Request) -> Reply:
        return json_reply({"created": len(self._add(json.loads(request.body)))})

    def _add(self, new: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self.before_import()
        for prediction in new:
            key = max(self.predictions, default=0) + 1
            self.predictions[key] = {"id": key, **prediction}
            self.server.on(f"/api/predictions/{key}/", self._change)
        self.after_import()
        return list(self.predictions.values())[-len(new) :]

    def _change(self, request: Request) -> Reply:
        key = int(request.path.split("/")[3])
        if request.method == "PATCH":
            self.predictions[key] |= json.loads(request.body)
            return json_reply(self.predictions[key])
        del self.predictions[key]
        return Reply(204)

    def changes(self) -> list[str]:
        return [each.path for each in self.server.requests if each.method != "GET"]

    def by_task(self) -> Counter[int]:
        return Counter(each["task"] for each in self.predictions.values())


@contextmanager
def predictions_studio(store: Store) -> Iterator[PredictionsStudio]:
    """One that the store's default connection leads to."""
    with ScriptedServer() as server:
        store.database.write(lambda db: save_connection(db, DEFAULT, server.url, LEGACY_TOKEN))
        yield PredictionsStudio(server)
