"""Calls for tasks and annotations.

Lists are read by key (`id` greater than the last one seen) and not by page number: a task that is
deleted meanwhile then shifts no page, so none is missed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from studio.calls.base import Calls, as_list, as_object
from studio.errors import StudioNotFound
from studio.records.annotations import AnnotationInfo
from studio.records.fields import count, integer
from studio.records.tasks import AnnotatedTaskInfo, LatestChange, RecentChanges, TaskInfo
from studio.regions import StudioRegion, regions_to_json

# Tasks in one answer. From 999 on, Label Studio on SQLite answers 500 for uploaded files:
# "Expression tree is too large". It takes 0.2 s for 1,000 tasks of two fields (2 cores).
LIGHT_PAGE = 500
FULL_PAGE = 200
# Label Studio applies one list to tasks and to the annotations in them, so it names both's fields.
CHANGED_FIELDS = (
    "id,data,annotations,created_at,updated_at,"
    "task,project,result,completed_by,was_cancelled,ground_truth,lead_time,parent_prediction"
)
# Label Studio parses times of filters with exactly this format and answers 500 to any other.
FILTER_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"

Filter = dict[str, Any]


class TaskCalls(Calls):
    """Calls for tasks and annotations."""

    def task_ids(self, project: int) -> Iterator[int]:
        """Every task's id, in order."""
        for body in self._tasks(project, LIGHT_PAGE, include="id"):
            yield integer(body, "id")

    def tasks(self, project: int) -> Iterator[TaskInfo]:
        """Every task's id, data and time of change, in order of id; without annotations."""
        include = "id,data,updated_at"
        for body in self._tasks(project, LIGHT_PAGE, include=include):
            yield TaskInfo.from_json(body)

    def first_tasks(self, project: int, count: int) -> list[TaskInfo]:
        """The first tasks' ids and data, at most `count`."""
        params: dict[str, str | int] = {
            "project": project,
            "page_size": count,
            "include": "id,data",
            "fields": "task_only",
            "resolve_uri": "false",
        }
        body = as_object(self.http.call("GET", "/api/tasks/", params=params), "a page of tasks")
        return list(map(TaskInfo.from_json, as_list(body.get("tasks"), "tasks")))

    def latest_change(self, project: int) -> LatestChange:
        """How many tasks and annotations there are, and when a task changed last. One request."""
        body = self._newest(project, 1, include="id,updated_at", fields="task_only")
        return _latest(body, list(map(TaskInfo.from_json, as_list(body.get("tasks"), "tasks"))))

    def recent_changes(self, project: int, most: int) -> RecentChanges:
        """The tasks that changed last, at most `most`, with their annotations. One request."""
        body = self._newest(project, most, include=CHANGED_FIELDS, fields="all")
        page = as_list(body.get("tasks"), "tasks")
        tasks = tuple(map(AnnotatedTaskInfo.from_json, page))
        latest = _latest(body, tasks)
        return RecentChanges(latest, tasks, len(tasks) >= latest.tasks)

    def changed_tasks(
        self, project: int, since: datetime | None, *, after: int = 0
    ) -> Iterator[AnnotatedTaskInfo]:
        """The tasks whose `updated_at` is later than `since`, with their annotations.

        In order of id, beginning after the id `after`. All tasks when `since` is None.
        `updated_at` moves when an annotation is made, edited, skipped or deleted, when the task's
        data is edited, and when a prediction is pushed or deleted by itself; not by bulk imports.
        Raises ValueError for a time without zone.
        """
        filters = [] if since is None else [_updated_after(since)]
        for body in self._tasks(
            project, FULL_PAGE, include=CHANGED_FIELDS, fields="all", filters=filters, after=after
        ):
            yield AnnotatedTaskInfo.from_json(body)

    def get_task(self, task: int) -> AnnotatedTaskInfo:
        """One task with its annotations (also skipped ones) and predictions."""
        params = {"resolve_uri": "false"}
        body = self.http.call("GET", f"/api/tasks/{task}/", params=params)
        return AnnotatedTaskInfo.from_json(body)

    def delete_task(self, task: int) -> None:
        """Delete a task with its annotations."""
        self.http.call("DELETE", f"/api/tasks/{task}/")

    def edit_task(self, task: int, data: dict[str, Any]) -> None:
        """Replace a task's data."""
        self.http.call("PATCH", f"/api/tasks/{task}/", json={"data": data})

    def next_task(self, project: int) -> AnnotatedTaskInfo | None:
        """Ask the label stream for its next task; None when nothing is left.

        The task is locked for its owner: asking again gives the same one until it is annotated.
        """
        try:
            body = self.http.call("GET", f"/api/projects/{project}/next/")
            return AnnotatedTaskInfo.from_json(body)
        except StudioNotFound as exc:
            if "no tasks" in str(exc).lower():
                return None
            raise

    def get_annotation(self, annotation: int) -> AnnotationInfo | None:
        """The annotation, None when it does not exist (any more)."""
        try:
            return AnnotationInfo.from_json(
                self.http.call("GET", f"/api/annotations/{annotation}/")
            )
        except StudioNotFound:
            return None

    def create_annotation(
        self,
        task: int,
        result: Sequence[StudioRegion],
        *,
        lead_time: float | None = None,
        was_cancelled: bool = False,
        ground_truth: bool = False,
        parent_prediction: int | None = None,
    ) -> AnnotationInfo:
        """Annotate a task in the name of the token's owner. `lead_time` is in seconds."""
        body = {
            "result": regions_to_json(result),
            "lead_time": lead_time,
            "was_cancelled": was_cancelled,
            "ground_truth": ground_truth,
            "parent_prediction": parent_prediction,
        }
        return AnnotationInfo.from_json(
            self.http.call("POST", f"/api/tasks/{task}/annotations/", json=body)
        )

    def edit_annotation(self, annotation: int, result: Sequence[StudioRegion]) -> AnnotationInfo:
        """Replace an annotation's regions."""
        body = {"result": regions_to_json(result)}
        return AnnotationInfo.from_json(
            self.http.call("PATCH", f"/api/annotations/{annotation}/", json=body)
        )

    def delete_annotation(self, annotation: int) -> None:
        """Delete an annotation."""
        self.http.call("DELETE", f"/api/annotations/{annotation}/")

    def _newest(self, project: int, most: int, *, include: str, fields: str) -> dict[str, Any]:
        """A page of the tasks that changed last, with the project's counts."""
        params: dict[str, str | int] = {
            "project": project,
            "page_size": most,
            "include": include,
            "fields": fields,
            "resolve_uri": "false",
            "query": json.dumps({"ordering": ["-tasks:updated_at"]}),
        }
        return as_object(self.http.call("GET", "/api/tasks/", params=params), "a page of tasks")

    def _tasks(
        self,
        project: int,
        page_size: int,
        *,
        include: str,
        fields: str = "task_only",
        filters: list[Filter] | None = None,
        after: int = 0,
    ) -> Iterator[Any]:
        last = after
        while True:
            items = [*(filters or []), _id_after(last)] if last else (filters or [])
            params: dict[str, str | int] = {
                "project": project,
                "page_size": page_size,
                "include": include,
                "fields": fields,
                "resolve_uri": "false",
            }
            if items:
                query = {"filters": {"conjunction": "and", "items": items}, "ordering": ["id"]}
                params["query"] = json.dumps(query)
            body = as_object(self.http.call("GET", "/api/tasks/", params=params), "a page of tasks")
            page = as_list(body.get("tasks"), "tasks")
            yield from page
            # The server may allow smaller pages than we ask for, so only the total tells the end.
            if not page or len(page) >= int(body.get("total") or 0):
                return
            last = integer(page[-1], "id")


def _latest(body: dict[str, Any], newest: Sequence[TaskInfo]) -> LatestChange:
    return LatestChange(
        tasks=count(body.get("total")),
        annotations=count(body.get("total_annotations")),
        at=newest[0].updated_at if newest else None,
    )


def _updated_after(since: datetime) -> Filter:
    if since.tzinfo is None:
        raise ValueError("the time that changes are wanted since needs a time zone")
    value = since.astimezone(UTC).strftime(FILTER_TIME)
    return _filter("updated_at", "Datetime", value)


def _id_after(task: int) -> Filter:
    return _filter("id", "Number", task)


def _filter(column: str, kind: str, value: str | int) -> Filter:
    return {
        "filter": f"filter:tasks:{column}",
        "operator": "greater",
        "type": kind,
        "value": value,
    }
