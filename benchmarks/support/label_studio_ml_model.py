"""A model for label-studio-ml 1.0.9 with Apprentice's backbone: `python -m ... PORT`.

It is written as label-studio-ml's own examples are: the network is loaded once, with the model;
each request reads its images, from the disk when they were downloaded before, and runs the network.
"""

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import requests
import torch
from label_studio_ml.api import init_app
from label_studio_ml.model import LabelStudioMLBase
from PIL import Image

from model.backbones.registry import build_module, get_backbone
from model.embedding.preprocessing import prepare

BACKBONE = "bundled:lite0"


class Baseline(LabelStudioMLBase):
    """Classes of images by a linear head on the backbone's features."""

    def __init__(self, **kwargs: Any) -> None:
        """Load the network and the head."""
        super().__init__(**kwargs)
        self.model_version = "baseline"
        self._spec = get_backbone(BACKBONE)
        self._network = build_module(self._spec)
        head = np.load(os.environ["BASELINE_HEAD"])
        self._weight, self._bias = torch.tensor(head["weight"]), torch.tensor(head["bias"])
        self._classes = [str(name) for name in head["classes"]]
        self._mean = torch.tensor(self._spec.mean).view(3, 1, 1)
        self._std = torch.tensor(self._spec.std).view(3, 1, 1)

    def predict(self, tasks: list[dict[str, Any]], **_kwargs: Any) -> list[dict[str, Any]]:
        """Predict a class for each task."""
        batch = torch.stack([self._pixels(task["data"]["image"]) for task in tasks])
        with torch.inference_mode():
            features = torch.nn.functional.normalize(self._network(batch).float())
            probabilities = torch.softmax(features @ self._weight.T + self._bias, dim=1)
        return [self._answer(row) for row in probabilities]

    def _pixels(self, uri: str) -> torch.Tensor:
        with Image.open(_local_path(uri)) as image:
            pixels = torch.tensor(prepare(image.convert("RGB"), self._spec))
        return (pixels.permute(2, 0, 1) / 255 - self._mean) / self._std

    def _answer(self, probabilities: torch.Tensor) -> dict[str, Any]:
        best = int(probabilities.argmax())
        region = {
            "from_name": "class",
            "to_name": "image",
            "type": "choices",
            "value": {"choices": [self._classes[best]]},
        }
        return {"result": [region], "score": float(probabilities[best])}


def _local_path(uri: str) -> Path:
    """The downloaded image. Label-studio-ml's own function knows no Personal Access Tokens."""
    path = Path(os.environ["BASELINE_FOLDER"]) / hashlib.sha256(uri.encode()).hexdigest()
    if not path.exists():
        answer = requests.get(
            os.environ["LABEL_STUDIO_URL"] + uri,
            headers={"Authorization": f"Bearer {os.environ['LABEL_STUDIO_ACCESS_TOKEN']}"},
            timeout=30,
        )
        answer.raise_for_status()
        path.write_bytes(answer.content)
    return path


if __name__ == "__main__":
    init_app(Baseline).run(host="127.0.0.1", port=int(sys.argv[1]))
