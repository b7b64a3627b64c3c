"""The answer of a model: predictions, one a task or a list of them, and the model's version."""

from __future__ import annotations

from typing import Any


class PredictionValue:
    """One prediction of a task, as `label_studio_sdk`'s class of this name."""

    def __init__(
        self,
        result: list[Any] | None = None,
        score: float | None = None,
        model_version: Any = None,
        **more: Any,
    ) -> None:
        """Make a prediction of regions, each a dict."""
        self.result = list(result or [])
        self.score = score
        self.model_version = model_version
        self.more = more

    def model_dump(self, **_options: Any) -> dict[str, Any]:
        """The prediction as Label Studio reads it."""
        own = {"result": self.result, "score": self.score, "model_version": self.model_version}
        return {**self.more, **own}


class ModelResponse:
    """Predictions for the tasks of a request, in order."""

    def __init__(
        self, predictions: list[Any] | None = None, model_version: Any = None, **_more: Any
    ) -> None:
        """Make an answer of predictions: dicts, `PredictionValue`s, or lists of them."""
        self.predictions = list(predictions or [])
        self.model_version = model_version

    def has_model_version(self) -> bool:
        """Whether the answer names a version."""
        return bool(self.model_version)

    def set_version(self, version: str) -> None:
        """Set the version, also of predictions that name none."""
        self.model_version = version
        self.update_predictions_version()

    def update_predictions_version(self) -> None:
        """Give the answer's version to predictions that name none."""
        for each in self.predictions:
            for prediction in each if isinstance(each, list) else [each]:
                if isinstance(prediction, dict):
                    if not prediction.get("model_version"):
                        prediction["model_version"] = self.model_version
                elif not getattr(prediction, "model_version", None):
                    prediction.model_version = self.model_version

    def model_dump(self, **_options: Any) -> dict[str, Any]:
        """The answer as plain data."""
        return {"predictions": self.predictions, "model_version": self.model_version}
