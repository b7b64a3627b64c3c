"""A guest in the manner of label-studio-ml 1.0.9: what `fit` returns comes back as train_output."""

from label_studio_ml.model import LabelStudioMLBase


class MostFrequent(LabelStudioMLBase):
    """Suggests the choice that was labelled most often; at first, the first one."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.from_name, info = next(iter(self.parsed_label_config.items()))
        self.to_name = info["to_name"][0]
        self.labels = info["labels"]
        self.best = self.train_output.get("best", self.labels[0])

    def predict(self, tasks, **kwargs):
        result = {
            "from_name": self.from_name,
            "to_name": self.to_name,
            "type": "choices",
            "value": {"choices": [self.best]},
        }
        return [{"result": [result], "score": 0.4} for _ in tasks]

    def fit(self, tasks, workdir=None, **kwargs):
        counts = dict.fromkeys(self.labels, 0)
        for task in tasks:
            regions = task["annotations"][0]["result"]
            for region in [each for each in regions if each["from_name"] == self.from_name]:
                counts[region["value"]["choices"][0]] += 1
        return {"best": max(counts, key=counts.get), "workdir": workdir}
