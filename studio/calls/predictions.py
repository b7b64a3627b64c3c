"""Calls for predictions and model versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from studio.calls.base import Calls, as_list, as_object, missing_project
from studio.records.annotations import NewPrediction, PredictionInfo
from studio.records.fields import count

# Seconds. A push is given long: when it times out, nobody knows whether it was done.
BULK_TIMEOUT = 120.0
# Deleting 5,000 predictions took 24 to 84 s on 2 cores with SQLite.
DELETE_TIMEOUT = 600.0


class PredictionCalls(Calls):
    """Calls for predictions."""

    def predictions(
        self, *, project: int | None = None, task: int | None = None
    ) -> list[PredictionInfo]:
        """List all predictions of a project, or of a task.

        Label Studio filters by nothing else and has no pages here: a project's 5,000 predictions
        took 1.3 s. Of a task that does not exist there are none. Raises StudioNotFound for a
        project that does not exist, and ValueError unless exactly one of the two is given.
        """
        if (project is None) == (task is None):
            raise ValueError("ask for the predictions of a project, or of a task")
        params = {"project": project} if project is not None else {"task": task or 0}
        with missing_project(project):
            body = self.http.call("GET", "/api/predictions/", params=params, timeout=BULK_TIMEOUT)
        return list(map(PredictionInfo.from_json, as_list(body, "predictions")))

    def import_predictions(self, project: int, predictions: Sequence[NewPrediction]) -> int:
        """Push in bulk; return how many were created.

        Label Studio drops invalid ones (a score outside 0..1, a class that the config lacks)
        without a word, so compare the number. One task that is not the project's, or was deleted,
        refuses all (`StudioRejected`). Repeating a push makes second predictions.
        """
        if not predictions:
            return 0
        body = self.http.call(
            "POST",
            f"/api/projects/{project}/import/predictions",
            json=[prediction.to_json() for prediction in predictions],
            timeout=BULK_TIMEOUT,
        )
        return count(as_object(body, "a number of predictions").get("created"))

    def create_prediction(
        self, prediction: NewPrediction, *, cluster: int | None = None
    ) -> PredictionInfo:
        """Push one. Only this way keeps `cluster`; it moves the task's `updated_at`."""
        body: dict[str, Any] = prediction.to_json()
        if cluster is not None:
            body["cluster"] = cluster
        return PredictionInfo.from_json(
            self.http.call("POST", "/api/predictions/", json=body, timeout=BULK_TIMEOUT)
        )

    def update_prediction(self, prediction: int, new: NewPrediction) -> None:
        """Replace one in place; it moves the task's `updated_at`.

        Annotators who have it open can still submit, as they can't once it was deleted.
        """
        path = f"/api/predictions/{prediction}/"
        self.http.call("PATCH", path, json=new.to_json(), timeout=BULK_TIMEOUT)

    def delete_prediction(self, prediction: int) -> None:
        """Delete one; it moves the task's `updated_at`."""
        self.http.call("DELETE", f"/api/predictions/{prediction}/")

    def model_versions(self, project: int) -> dict[str, int]:
        """Count the predictions of each version."""
        body = self.http.call("GET", f"/api/projects/{project}/model-versions/")
        counts = as_object(body, "model versions")
        return {version: count(counts[version]) for version in counts}

    def delete_model_version(self, project: int, version: str) -> int:
        """Delete all predictions of a version; return how many there were.

        If it is the project's `model_version`, or that is a backend's title, it becomes null.
        """
        path = f"/api/projects/{project}/model-versions/"
        body = self.http.call(
            "DELETE", path, json={"model_version": version}, timeout=DELETE_TIMEOUT
        )
        return count(as_object(body, "a number of predictions").get("deleted_predictions"))
