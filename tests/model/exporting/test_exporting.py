"""Exports: each folder runs without Apprentice and says what Apprentice says."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from PIL import Image

from model.backbones import BackboneSpec
from model.embedding.preprocessing import prepare
from model.exporting import FORMATS, ExportedControl, ExportError, export
from model.heads import FitData, fit, fit_labels, fit_number
from model.targets.calibrated_labels import CalibratedLabels
from model.targets.number import CalibratedNumber
from model.targets.schema import MultiLabel, Number, Paths, SingleLabel
from model.targets.single import CalibratedHead

SPEC = BackboneSpec(
    name="timm:test_efficientnet",
    dim=256,
    input_size=96,
    crop_pct=0.875,
    mean=(0.5, 0.4, 0.45),
    std=(0.25, 0.2, 0.3),
    interpolation="bicubic",
    digest="",
)
SIZES = ((300, 200), (640, 481), (224, 224), (97, 1201))


def embedded(backbone: torch.nn.Module, images: list[Image.Image]) -> NDArray[np.float16]:
    """As Apprentice does in float32: normalised, embedded, and kept in half precision."""
    pixels = np.stack([prepare(image, SPEC) for image in images]).astype(np.float32) / 255
    x = (pixels - np.float32(SPEC.mean)) / np.float32(SPEC.std)
    with torch.no_grad():
        features = backbone(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
    return features.numpy().astype(np.float16)


@pytest.fixture(scope="module")
def backbone() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model("test_efficientnet", num_classes=0).eval()


@pytest.fixture(scope="module")
def controls() -> list[ExportedControl]:
    """One control of each form, the first with a class that was removed since."""
    rng = np.random.default_rng(0)
    x = np.abs(rng.normal(size=(60, SPEC.dim)))
    kinds = fit(FitData.of(x, rng.integers(0, 3, 60), ("cat", "dog", "fox"), seed=0))
    tree = ("animal", "animal / cat", "plant")
    y = (rng.random((60, 3)) < 0.5).astype(float)
    parts = fit_labels(FitData.of(x, y, ("tail", "ear", "paw"), seed=0))
    return [
        ExportedControl("kind", CalibratedHead(kinds, 1.7), SingleLabel(("dog", "cat"))),
        ExportedControl(
            "parts", CalibratedLabels(parts, 0.8, tree=False), MultiLabel(("tail", "ear", "paw"))
        ),
        ExportedControl(
            "taxonomy",
            CalibratedLabels(fit_labels(FitData.of(x, y, tree, seed=0)), 1.0, tree=True),
            Paths((("animal",), ("animal", "cat"), ("plant",)), multiple=True),
        ),
        ExportedControl(
            "age", CalibratedNumber(fit_number(FitData.of(x, x[:, 0], seed=0)), 0.5), Number()
        ),
    ]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(1)
    paths = []
    for index, (width, height) in enumerate(SIZES):
        coarse = rng.integers(0, 255, (9, 7, 3), dtype=np.uint8)
        path = folder / f"{index}.png"
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path)
        paths.append(path)
    return paths


@pytest.mark.slow
@pytest.mark.parametrize("fmt", FORMATS)
def test_an_exported_folder_says_what_apprentice_says(
    fmt: str,
    backbone: torch.nn.Module,
    controls: list[ExportedControl],
    images: list[Path],
    tmp_path: Path,
) -> None:
    export(backbone, SPEC, controls, tmp_path, fmt=fmt, about={"version": "apprentice v1"})
    script = tmp_path / "infer.py"
    assert len(script.read_text().splitlines()) <= 40
    assert json.loads((tmp_path / "labels.json").read_text())["version"] == "apprentice v1"
    done = subprocess.run(
        [sys.executable, "-P", str(script), *map(str, images)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        timeout=200,
    )
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["image"] for answer in said] == [str(path) for path in images]

    x = embedded(backbone, [Image.open(path).convert("RGB") for path in images])
    kind, parts, taxonomy, age = (control.learned for control in controls)
    for row, answer in enumerate(said):
        labels = answer["labels"]
        assert list(labels["kind"]) == ["cat", "dog"], "what was removed is never suggested"
        expected = {
            "kind": kind.probabilities(x)[row, :2],
            "parts": parts.probabilities(x)[row],
            "taxonomy": taxonomy.probabilities(x)[row],
            "age": age.head.values(x)[[row]],
        }
        for name, values in expected.items():
            np.testing.assert_allclose(list(labels[name].values()), values, atol=1e-3)
        assert labels["taxonomy"]["animal"] >= labels["taxonomy"]["animal / cat"]


def test_what_cannot_be_exported_says_why(backbone: torch.nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="learned nothing"):
        export(backbone, SPEC, [], tmp_path, fmt="onnx", about={})
    x = np.random.default_rng(0).normal(size=(20, 8))
    head = fit(FitData.of(x, np.arange(20) % 2, ("a", "b"), seed=0))
    control = ExportedControl("kind", CalibratedHead(head, 1.0), SingleLabel(("a", "b")))
    plain = torch.nn.Flatten()
    with pytest.raises(ExportError, match="only timm's architectures"):
        export(plain, SPEC, [control], tmp_path, fmt="safetensors", about={})
