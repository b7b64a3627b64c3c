"""Artifacts of every format that was ever written must load, and answer as they did.

A file in `tests/data/artifact-format-N` is never made again. When the format changes, the new one
is added beside it.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from model.heads.number import NumberHead
from store.artifacts import Artifacts
from worker.predictor import FORMAT, Predictor

DATA = Path(__file__).parents[1] / "data"
FOLDERS = sorted(DATA.glob("artifact-format-*"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_old_artifact_answers_as_it_did(folder: Path) -> None:
    expected = json.loads((folder / "expected.json").read_text())
    artifact = Artifacts(str(folder)).load(expected["digest"])
    assert artifact.manifest["format"] == int(folder.name.rpartition("-")[2])
    predictor = Predictor.of_artifact(artifact, artifact.manifest["space"])
    assert set(predictor.heads) == set(expected["outputs"])
    x = np.array(expected["x"], np.float32)
    for name, outputs in expected["outputs"].items():
        learned = predictor.heads[name]
        if isinstance(learned.head, NumberHead):
            found = learned.head.values(x)[:, None]
        else:
            found = learned.probabilities(x)
        np.testing.assert_allclose(found, outputs, rtol=1e-4, atol=1e-6)


def test_todays_format_is_among_them() -> None:
    assert f"artifact-format-{FORMAT}" in [folder.name for folder in FOLDERS]
