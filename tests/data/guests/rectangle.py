"""A guest in the manner of label-studio-ml 2.x. A file `mood` in MODEL_DIR makes it misbehave."""

import os
import time
from pathlib import Path

from label_studio_ml.model import LabelStudioMLBase
from label_studio_ml.response import ModelResponse

MOOD = Path(os.environ.get("MODEL_DIR", ".")) / "mood"


def mood():
    return MOOD.read_text().strip() if MOOD.exists() else ""


class Rectangles(LabelStudioMLBase):
    """Draws one rectangle in each image; what it learns is how many events it saw."""

    def setup(self):
        if mood() == "no setup":
            raise RuntimeError("no weights here")
        if not self.has("events"):
            self.set("model_version", "rect-1")
            self.set("events", "0")
        self.tag = self.get_first_tag_occurence("RectangleLabels", "Image")

    def region(self, name=None, x=10.0, score=0.9):
        from_name, to_name, _ = self.tag
        value = {"x": x, "y": 20, "width": 30, "height": 40, "rotation": 0}
        return {
            "from_name": name or from_name,
            "to_name": to_name,
            "type": "rectanglelabels",
            "original_width": 100,
            "original_height": 100,
            "value": {**value, "rectanglelabels": ["thing"]},
            "score": score,
        }

    def predict(self, tasks, context=None, **kwargs):
        print("predicting", len(tasks), "tasks", flush=True)
        now = mood()
        if now == "crash":
            os._exit(7)
        if now == "hang":
            time.sleep(3600)
        if now == "raise":
            raise ValueError("out of paper")
        if now.startswith("raise on ") and int(now[9:]) in [task["id"] for task in tasks]:
            raise ValueError("a torn page")
        if now == "none":
            return None
        if now == "short":
            return [{"result": []}] * (len(tasks) + 1)
        if now == "number":
            return 5
        if now == "huge":
            return [{"result": [{"blob": "x" * 70_000_000}]} for _ in tasks]
        if now == "first only":
            return ModelResponse(predictions=[{"result": [self.region()], "score": 0.5}])
        if context:
            x = context["result"][0]["value"]["x"]
            return ModelResponse(predictions=[{"result": [self.region(x=x)], "score": 1.0}])
        more = {
            "nan": [self.region(x=float("nan"))],
            "score": [self.region(score="high")],
            "unknown": [self.region("nobody")],
            "text": ["a rectangle"],
        }.get(now, [])
        predictions = [{"result": [self.region(), *more], "score": 0.5} for _ in tasks]
        return ModelResponse(predictions=predictions, model_version=self.get("model_version"))

    def fit(self, event, data, **kwargs):
        print("epoch 1/2", flush=True)
        now = mood()
        if now == "fit crash":
            os._exit(9)
        if now == "fit raise":
            raise ValueError("no label of a thing")
        if now == "fit hang":
            time.sleep(3600)
        seen = int(self.get("events")) + 1
        self.set("events", str(seen))
        self.set("last", f"{event} of {data['project']['id']}")
        self.set("model_version", f"rect-{seen + 1}")
