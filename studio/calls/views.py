"""Calls for tabs of the Data Manager."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from studio.calls.base import Calls, as_object
from studio.errors import StudioNotFound
from studio.records.fields import integer


class ViewCalls(Calls):
    """Calls for tabs of the Data Manager."""

    def show_tab(self, project: int, title: str, tasks: Sequence[int], tab: int | None) -> int:
        """Have a tab that lists exactly these tasks; return its id.

        `tab` is the one from before, which is changed if it is still there. At least one task: a
        tab without a filter lists all. Raises ValueError for none.
        """
        if not tasks:
            raise ValueError("a tab for no task would list all of them")
        items = [_is(task) for task in tasks]
        filters = {"conjunction": "or", "items": items}
        data = {"title": title, "type": "list", "target": "tasks", "filters": filters}
        body: dict[str, Any] = {"project": project, "data": data}
        if tab is not None:
            with contextlib.suppress(StudioNotFound):
                changed = self.http.call("PATCH", f"/api/dm/views/{tab}/", json=body)
                return integer(as_object(changed, "a tab"), "id")
        made = self.http.call("POST", "/api/dm/views/", json=body)
        return integer(as_object(made, "a tab"), "id")

    def tab_tasks(self, project: int, tab: int) -> list[int]:
        """The tasks that a tab lists, by id; at most 200."""
        params: dict[str, str | int] = {"project": project, "view": tab, "page_size": 200}
        body = as_object(self.http.call("GET", "/api/tasks/", params=params), "a page of tasks")
        return sorted(integer(task, "id") for task in body.get("tasks") or ())

    def delete_tab(self, tab: int) -> None:
        """Delete a tab, if it is still there."""
        with contextlib.suppress(StudioNotFound):
            self.http.call("DELETE", f"/api/dm/views/{tab}/")


def _is(task: int) -> dict[str, Any]:
    return {"filter": "filter:tasks:id", "operator": "equal", "type": "Number", "value": task}
