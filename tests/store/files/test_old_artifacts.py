"""Artifacts of every format that was ever written must load, and answer as they did.

A file in `tests/data/artifact-format-N` is never made again. When the format changes, or there is a
new kind of head, the new one is added beside it.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from model.heads import HEADS, labels, number
from model.heads.number import NumberHead
from services.suggestions.predictor import FORMAT, Predictor
from store.files.artifacts import Artifact, Artifacts

DATA = Path(__file__).parents[2] / "data"
EXPECTED = sorted(DATA.glob("artifact-format-*/expected*.json"))


def load(expected: Path) -> tuple[Artifact, Predictor]:
    """The artifact that a file says what to expect of."""
    digest = json.loads(expected.read_text())["digest"]
    artifact = Artifacts(str(expected.parent)).load(digest)
    return artifact, Predictor.of_artifact(artifact, artifact.manifest["space"])


@pytest.mark.parametrize("file", EXPECTED, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_an_old_artifact_answers_as_it_did(file: Path) -> None:
    expected = json.loads(file.read_text())
    artifact, predictor = load(file)
    assert artifact.manifest["format"] == int(file.parent.name.rpartition("-")[2])
    assert set(predictor.heads) == set(expected["outputs"])
    x = np.array(expected["x"], np.float32)
    for name, outputs in expected["outputs"].items():
        learned = predictor.heads[name]
        if isinstance(learned.head, NumberHead):
            found = learned.head.values(x)[:, None]
        else:
            found = learned.probabilities(x)
        np.testing.assert_allclose(found, outputs, rtol=1e-4, atol=1e-6)


def test_todays_format_and_every_kind_of_head_are_among_them() -> None:
    today = [file for file in EXPECTED if file.parent.name == f"artifact-format-{FORMAT}"]
    kinds = {learned.head.kind for file in today for learned in load(file)[1].heads.values()}
    assert kinds >= {*HEADS.names(), labels.KIND, number.KIND}
