"""The page's kind of target in the rest of the code: run beside the examples, in their copy."""

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model.active_learning.version_agreement import kappa
from model.annotators.vote_matrix import Vote
from model.backbones import BackboneSpec
from model.exporting import FORMATS, ExportedControl, export
from model.finetuning import tuning_target
from model.targets.angle import Angle
from model.targets.kind import kind_of
from model.training.control import agrees
from services.labels.aggregation import resolve_labels
from services.reports.label_review import review
from services.reports.out_of_fold_answers import out_of_fold_answers
from services.training.gate import judge
from services.training.train import Trained, train
from services.training.training_set import TrainingSet
from studio.config import parse_label_config

CONFIG = parse_label_config(
    """<View><Image name="image" value="$image"/>
    <Angle name="heading" toName="image" tolerance="20"/></View>"""
)
SPACE = "test:tiny@float32"
SPEC = BackboneSpec("test:tiny", 3, 32, 1.0, (0.5,) * 3, (0.25,) * 3, "bicubic", "")


def data_of(seed: int = 0) -> TrainingSet:
    """120 images whose colours turn with the angle; one of them labelled by two annotators."""
    rng = np.random.default_rng(seed)
    degrees = rng.integers(0, 360, 120).astype(float)
    turns = np.deg2rad(degrees)
    x = np.stack([np.cos(turns), np.sin(turns), np.cos(turns + 2)], axis=1)
    x += rng.normal(size=x.shape) * 0.03
    votes = {unit: {"heading": [Vote(1, value, False)]} for unit, value in enumerate(degrees)}
    votes[7]["heading"].append(Vote(2, (degrees[7] + 100) % 360, False))
    labels = resolve_labels(votes, CONFIG)
    keys = [str(unit) for unit in range(120)]
    return TrainingSet(np.arange(120), keys, x, labels, frozenset(), SPACE, votes=votes)


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train(data_of(), CONFIG, seed=0, served=None)


def test_the_gate_compares_it_with_what_is_served(trained: Trained) -> None:
    data = data_of()
    artifact = trained.artifact(SPACE, data.digest(CONFIG))
    served = trained.predictor(SPACE)
    again = train(data, CONFIG, seed=1, served=served)
    assert judge(again, data, served, artifact).accepted
    order = np.random.default_rng(1).permutation(120).tolist()
    shuffled = {unit: data.labels[order[unit]] for unit in range(120)}
    wrong = train(replace(data, labels=shuffled, votes={}), CONFIG, seed=0, served=None)
    result, unseen = wrong.results["heading"], trained.results["heading"].unseen
    right = agrees(result.predicted, unseen, result.head)
    asked_the_truth = {"heading": replace(result, unseen=unseen, correct=right)}
    assert not judge(replace(wrong, results=asked_the_truth), data, served, artifact).accepted


def test_reports_know_it(trained: Trained) -> None:
    found = review(trained.results, at=0.0)
    assert [label.task for label in found.contested] == [7]
    answers = out_of_fold_answers(trained.results)
    assert sum(answer.right for answer in answers.values()) > 100
    values = trained.results["heading"].predicted

    near = partial(kind_of(Angle()).agrees, Angle())
    assert kappa(values, [(value + 3) % 360 for value in values], near) == pytest.approx(1)


def test_it_is_not_fine_tuned_and_says_so(trained: Trained) -> None:
    labels = trained.results["heading"].unseen.labels
    target, reason = tuning_target("heading", labels, 120)
    assert target is None
    assert reason == "backbones are not fine-tuned on labels of the kind 'angle'"


class MeanColour(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3))


@pytest.mark.parametrize("fmt", [name for name in FORMATS if name != "safetensors"])
def test_it_is_exported(trained: Trained, fmt: str, tmp_path: Path) -> None:
    learned = trained.results["heading"].head
    folder, image = tmp_path / "export", tmp_path / "image.png"
    folder.mkdir()
    Image.new("RGB", (32, 32), (200, 90, 40)).save(image)
    export(
        MeanColour().eval(),
        SPEC,
        [ExportedControl("heading", learned, Angle(20))],
        folder,
        fmt=fmt,
        about={},
    )
    done = subprocess.run(
        [sys.executable, "-P", "infer.py", str(image)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    x = (np.array([[200, 90, 40]]) / 255 - 0.5) / 0.25
    expected = learned.head.logits(x.astype(np.float16))[0]
    outputs = json.loads(done.stdout)["labels"]["heading"]
    assert list(outputs) == ["cosine", "sine"]
    np.testing.assert_allclose(list(outputs.values()), expected, atol=1e-2)
