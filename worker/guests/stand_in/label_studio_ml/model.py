"""The base class of models, with the interface of label-studio-ml 2.x, and of 1.0.9 beside it."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, Callable  # noqa: UP035 - collections.abc's is newer than 3.8

from . import cache
from .label_config import LabelInterface
from .local_path import get_local_path
from .response import ModelResponse, PredictionValue

__all__ = ["LabelStudioMLBase", "ModelResponse", "PredictionValue", "get_local_path"]


class LabelStudioMLBase:
    """The base class of models: override `setup` and `predict`, and `fit` if the model learns."""

    STAND_IN = True
    INITIAL_MODEL_VERSION = "0.0.1"
    TRAIN_EVENTS = (
        "ANNOTATION_CREATED",
        "ANNOTATION_UPDATED",
        "ANNOTATION_DELETED",
        "START_TRAINING",
    )

    def __init__(
        self,
        project_id: str | None = None,
        label_config: str | None = None,
        train_output: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Make the model of a project. `train_output`, `hostname`, `access_token` are 1.0.9's."""
        self.project_id = project_id or ""
        self.train_output = train_output or {}
        self.hostname = more.get("hostname") or ""
        self.access_token = more.get("access_token") or ""
        self._config = ""
        self._interface: Any = None
        if label_config is not None:
            self.use_label_config(label_config)
        if not self.get("model_version"):
            self.set("model_version", self.INITIAL_MODEL_VERSION)
        self.setup()

    def setup(self) -> None:
        """Prepare the model, and set its version: `self.set("model_version", "0.0.2")`."""

    def predict(
        self, tasks: list[dict[str, Any]], context: dict[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        """A prediction for each task."""
        raise NotImplementedError(f"{type(self).__name__} has no method predict")

    def fit(self, event: str, data: dict[str, Any], **kwargs: Any) -> Any:
        """Learn from an event of Label Studio."""

    # What a model remembers

    def get(self, key: str) -> str | None:
        """A remembered value; None when there is none."""
        return cache.read(self.project_id, key)

    def set(self, key: str, value: str) -> None:
        """Remember text, beyond the end of this process."""
        cache.write(self.project_id, key, value)

    def has(self, key: str) -> bool:
        """Whether there is a remembered value."""
        return self.get(key) is not None

    @property
    def model_version(self) -> str | None:
        """The version that predictions are shown with."""
        return self.get("model_version")

    def bump_model_version(self) -> str:
        """Raise the middle number of a version such as 0.1.0, set it and return it."""
        parts = (self.model_version or self.INITIAL_MODEL_VERSION).split(".")
        if len(parts) != 3 or not parts[1].isdigit():
            raise ValueError(f"{self.model_version!r} is no version of three numbers")
        version = f"{parts[0]}.{int(parts[1]) + 1}.0"
        self.set("model_version", version)
        return version

    @property
    def extra_params(self) -> Any:
        """The parameters that are set in Label Studio for this backend."""
        return json.loads(self.get("extra_params") or "{}")

    def set_extra_params(self, extra_params: str) -> None:
        """Remember these parameters."""
        self.set("extra_params", extra_params)

    # The label config

    def use_label_config(self, label_config: str) -> None:
        """Take a label config."""
        self._config = label_config
        if self.get("label_config") != label_config:
            self.set("label_config", label_config)
            self.set("parsed_label_config", json.dumps(LabelInterface(label_config).parsed()))

    @property
    def label_config(self) -> str | None:
        """The label config's XML."""
        return self._config or self.get("label_config")

    @property
    def parsed_label_config(self) -> dict[str, Any]:
        """{control: its type, what it labels, its labels}."""
        return LabelInterface(self.label_config or "<View/>").parsed()

    @property
    def label_interface(self) -> Any:
        """The label config as `label_studio_sdk` reads it; without the SDK, the main parts."""
        if self._interface is None:
            try:
                sdk: Any = importlib.import_module("label_studio_sdk.label_interface")
            except ImportError:
                self._interface = LabelInterface(self.label_config or "<View/>")
            else:
                self._interface = sdk.LabelInterface(config=self.label_config or "<View/>")
        return self._interface

    def get_first_tag_occurence(
        self,
        control_type: Any,
        object_type: Any,
        name_filter: Callable[[str], bool] | None = None,
        to_name_filter: Callable[[str], bool] | None = None,
    ) -> tuple[str, str, str]:
        """(from_name, to_name, data key) of the first such control and object."""
        config = LabelInterface(self.label_config or "<View/>")
        return config.get_first_tag_occurence(
            control_type, object_type, name_filter, to_name_filter
        )

    def build_label_map(self, tag_name: str, names: list[str]) -> dict[str, str]:
        """{the model's name of a class: the label that it stands for}.

        A label's attribute `predicted_values` lists names; else the label's own name is meant, in
        upper or lower case.
        """
        lower = {name.lower(): name for name in names}
        mapped: dict[str, str] = {}
        control = LabelInterface(self.label_config or "<View/>").get_control(tag_name)
        for label, tag in control.labels_attrs.items():
            listed = [each.strip() for each in tag.attr.get("predicted_values", "").split(",")]
            known = [each for each in listed if each in names]
            if not known and label in names:
                known = [label]
            elif not known and label.lower() in lower:
                known = [label.lower()]
            mapped.update(dict.fromkeys(known, label))
        return mapped

    # Data

    def get_local_path(
        self,
        url: str,
        project_dir: str | None = None,
        ls_host: str | None = None,
        ls_access_token: str | None = None,
        task_id: int | None = None,
        **_more: Any,
    ) -> str:
        """A local file with what a URL of a task's data leads to."""
        return get_local_path(
            url,
            hostname=ls_host or self.hostname or None,
            access_token=ls_access_token or self.access_token or None,
            task_id=task_id,
        )

    def preload_task_data(
        self, task: dict[str, Any], value: Any = None, read_file: bool = True
    ) -> Any:
        """The task's data with what its URLs lead to: the text of the files, or their paths."""
        if isinstance(value, dict):
            return {k: self.preload_task_data(task, v, read_file) for k, v in value.items()}
        if isinstance(value, list):
            return [self.preload_task_data(task, each, read_file) for each in value]
        if isinstance(value, str) and value.startswith(("http:", "https:", "/data/", "s3:", "gs:")):
            path = self.get_local_path(value, task_id=task.get("id"))
            return Path(path).read_text() if read_file else path
        return value
