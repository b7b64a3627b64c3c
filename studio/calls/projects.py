"""Calls for projects, the token's owner and Label Studio's version."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from studio.calls.base import Calls, as_list, as_object
from studio.records.fields import text
from studio.records.projects import ProjectCounts, ProjectInfo, ProjectSettings, UserInfo

UNCERTAINTY_SAMPLING = "Uncertainty sampling"


class ProjectCalls(Calls):
    """Calls for projects and the user whose token it is."""

    def whoami(self) -> UserInfo:
        """The token's owner."""
        return UserInfo.from_json(self.http.call("GET", "/api/current-user/whoami"))

    def version(self) -> str:
        """Label Studio's version, "" when it does not say."""
        return text(as_object(self.http.call("GET", "/api/version/"), "its version").get("release"))

    def projects(self) -> Iterator[ProjectInfo]:
        """All projects that the token may see."""
        page = 1
        while True:
            params = {"page": page, "page_size": 100}
            body = as_object(self.http.call("GET", "/api/projects/", params=params), "projects")
            yield from map(ProjectInfo.from_json, as_list(body, "projects"))
            if not body.get("next"):
                return
            page += 1

    def get_project(self, project: int) -> ProjectInfo:
        """Fetch a project."""
        return ProjectInfo.from_json(self.http.call("GET", f"/api/projects/{project}/"))

    def project_counts(self, projects: Collection[int]) -> dict[int, ProjectCounts]:
        """The counts of several projects, without those that don't exist. One request.

        The cheapest way to see a change: half the time of any call that reads a task.
        """
        params: dict[str, str | int] = {
            "ids": ",".join(map(str, sorted(projects))),
            "include": "id,task_number,total_annotations_number,skipped_annotations_number",
            "page_size": len(projects),
        }
        body = self.http.call("GET", "/api/projects/counts/", params=params)
        counts = map(ProjectCounts.from_json, as_list(body, "counts"))
        return {item.id: item for item in counts if item.id in projects}

    def project_settings(self, projects: Collection[int]) -> dict[int, ProjectSettings]:
        """The settings of several projects, of at most 100. One request, as cheap as the counts.

        Projects that Label Studio doesn't list are left out.
        """
        params: dict[str, str | int] = {
            "ids": ",".join(map(str, sorted(projects))),
            "include": "id,title,created_at,label_config",
            "page_size": len(projects),
        }
        body = self.http.call("GET", "/api/projects/", params=params)
        settings = map(ProjectSettings.from_json, as_list(body, "projects"))
        return {item.id: item for item in settings if item.id in projects}

    def model_version(self, project: int) -> str:
        """The model version that the project shows; half the time of fetching the project."""
        path, params = f"/api/projects/{project}/", {"include": "id,model_version"}
        body = as_object(self.http.call("GET", path, params=params), "a project")
        return text(body.get("model_version"))

    def show_model_version(self, project: int, version: str) -> None:
        """Have the project show a model version; cheaper than `patch_project`, with its errors."""
        path, params = f"/api/projects/{project}/", {"include": "id"}
        self.http.call("PATCH", path, params=params, json={"model_version": version})

    def create_project(self, title: str, label_config: str, **settings: Any) -> ProjectInfo:
        """Make a project; `settings` are its other fields, such as `maximum_annotations`."""
        body = {"title": title, "label_config": label_config, **settings}
        return ProjectInfo.from_json(self.http.call("POST", "/api/projects/", json=body))

    def patch_project(
        self,
        project: int,
        *,
        model_version: str | None = None,
        sampling: str | None = None,
        label_config: str | None = None,
        maximum_annotations: int | None = None,
        show_predictions: bool | None = None,
    ) -> ProjectInfo:
        """Change what is given, leave what is None.

        `model_version` must be a version that the project has predictions of, a backend's title,
        or "": everything else is a `StudioRejected`.
        """
        fields = {
            "model_version": model_version,
            "sampling": sampling,
            "label_config": label_config,
            "maximum_annotations": maximum_annotations,
            "show_collab_predictions": show_predictions,
        }
        body = {key: value for key, value in fields.items() if value is not None}
        return ProjectInfo.from_json(
            self.http.call("PATCH", f"/api/projects/{project}/", json=body)
        )

    def touch_project(self, project: int) -> None:
        """Change nothing. Label Studio sends PROJECT_UPDATED to webhooks all the same."""
        self.http.call("PATCH", f"/api/projects/{project}/", json={})

    def delete_project(self, project: int) -> None:
        """Delete a project with all its tasks."""
        self.http.call("DELETE", f"/api/projects/{project}/", timeout=120.0)
