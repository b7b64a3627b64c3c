"""A version's heads, ready to answer: embeddings in, Label Studio results out. Numpy only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model.calibration import softmax
from model.heads import Head, head_from_arrays
from store.artifacts import Arrays, Artifact
from store.store import Store
from store.versions import Version
from studio.config import LabelConfig

Floats = npt.NDArray[np.floating[Any]]

FORMAT = 1  # of the artifact; raised when an older reader can't read it


@dataclass(frozen=True)
class CalibratedHead:
    """A head and the temperature that makes its probabilities honest."""

    head: Head
    temperature: float

    def probabilities(self, x: Floats) -> npt.NDArray[np.float32]:
        """[N, D] embeddings to [N, C] probabilities, in the order of `head.classes`."""
        return softmax(self.head.logits(x) / np.float32(self.temperature))


@dataclass(frozen=True)
class Suggestion:
    """What is suggested for one task. `result` is empty where we are not sure enough."""

    result: list[dict[str, Any]]
    confidence: float  # of the least sure control, 0 to 1


class Predictor:
    """The heads of one version, one for each control."""

    def __init__(self, heads: Mapping[str, CalibratedHead], space: str) -> None:
        self.heads = dict(heads)
        self.space = space

    @classmethod
    def load(cls, store: Store, version: Version) -> "Predictor":
        """Read the version's artifact. A start version has no heads.

        Raises:
            ArtifactError: it is missing or damaged.
        """
        if version.artifact is None:
            return cls({}, version.embedding_space)
        artifact = store.artifacts.load(version.artifact)
        heads = {}
        for entry in artifact.manifest["heads"]:
            prefix = f"head/{entry['control']}/"
            arrays = {
                name.removeprefix(prefix): array
                for name, array in artifact.arrays.items()
                if name.startswith(prefix)
            }
            head = head_from_arrays(entry["kind"], tuple(entry["classes"]), arrays)
            heads[entry["control"]] = CalibratedHead(head, entry["temperature"])
        return cls(heads, version.embedding_space)

    def artifact(self, manifest: Mapping[str, Any], more: Arrays) -> Artifact:
        """The heads as an artifact that `load` reads, with `manifest` and `more` arrays beside."""
        arrays = more | {
            f"head/{control}/{name}": array
            for control, calibrated in self.heads.items()
            for name, array in calibrated.head.arrays().items()
        }
        entries = [
            {
                "control": control,
                "kind": calibrated.head.kind,
                "classes": list(calibrated.head.classes),
                "temperature": calibrated.temperature,
            }
            for control, calibrated in self.heads.items()
        ]
        own = {"format": FORMAT, "heads": entries, "space": self.space}
        return Artifact(arrays, dict(manifest) | own)

    def suggest(self, config: LabelConfig, x: Floats, min_confidence: float) -> list[Suggestion]:
        """Suggestions for [N, D] embeddings, in order.

        Only classes that the label config still has are suggested. A control whose most probable
        class is less probable than `min_confidence` is left out.
        """
        results: list[list[dict[str, Any]]] = [[] for _ in x]
        confidence: npt.NDArray[np.float32] = np.ones(len(x), np.float32)
        learned = False
        for control in config.controls:
            calibrated = self.heads.get(control.name)
            if calibrated is None or not len(x):
                continue
            classes = calibrated.head.classes
            keep = [i for i, name in enumerate(classes) if name in control.schema.classes]
            if not keep:
                continue
            learned = True
            probabilities = calibrated.probabilities(x)[:, keep]
            best = probabilities.argmax(axis=1)
            top = probabilities[np.arange(len(x)), best]
            confidence = np.minimum(confidence, top)
            for row in np.flatnonzero(top >= min_confidence):
                name = classes[keep[best[row]]]
                results[row].append(control.write(name, round(float(top[row]), 4)))
        if not learned:
            confidence[:] = 0
        confidence = np.nan_to_num(confidence)  # of an embedding that holds no numbers
        return [
            Suggestion(result, float(sure))
            for result, sure in zip(results, confidence, strict=True)
        ]


def shortlist_score(rank: int, count: int, *, after: float = 0.0) -> float:
    """Label Studio's score for the shortlist: it hands out the lowest first. In [after, 0.5)."""
    return after + (0.5 - after) * (rank + 1) / (count + 2)


def rest_score(confidence: float) -> float:
    """Label Studio's score for all other tasks, after the shortlist. In [0.5, 1]."""
    return 0.5 + 0.5 * min(max(confidence, 0.0), 1.0)
