"""Backbones: names, weights, and that they see what is there."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from model.backbones import UnknownBackboneError, build_module, get_backbone

BUNDLED = ("lite0", "lite1", "lite2")


def test_a_name_finds_its_backbone() -> None:
    spec = get_backbone("bundled:lite0")

    assert (spec.dim, spec.input_size, spec.crop_pct) == (1280, 224, 0.875)


@pytest.mark.parametrize("name", ["bundled:lite00", "bundeld:lite0", "lite0"])
def test_a_misspelt_name_is_answered_with_what_was_meant(name: str) -> None:
    with pytest.raises(UnknownBackboneError, match="did you mean bundled:lite0"):
        get_backbone(name)


def test_a_name_like_no_other_is_answered_with_all_there_is() -> None:
    with pytest.raises(UnknownBackboneError, match=r"there are: .*bundled:lite0"):
        get_backbone("?")


def test_asking_for_a_backbone_imports_no_torch() -> None:
    code = (
        "import sys; from model.backbones import get_backbone; get_backbone('bundled:lite0');"
        "sys.exit('torch' in sys.modules or 'openvino' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("model", BUNDLED)
def test_the_spec_says_what_timm_says(model: str) -> None:
    import timm

    spec = get_backbone(f"bundled:{model}")
    cfg = timm.get_pretrained_cfg(f"tf_efficientnet_{model}")

    assert cfg.input_size == (3, *spec.shape)
    assert (cfg.mean, cfg.std) == (spec.mean, spec.std)
    assert (cfg.crop_pct, cfg.interpolation) == (spec.crop_pct, spec.interpolation)


@pytest.mark.parametrize("model", BUNDLED)
def test_every_shipped_weight_has_one_place_in_the_module(model: str) -> None:
    import timm
    import torch

    from model.backbones.families.bundled import LITE, bundled_weights, timm_name

    shipped = torch.load(bundled_weights(model), map_location="cpu", weights_only=True)
    there = timm.create_model(LITE[model].timm, pretrained=False).state_dict()
    translated = [timm_name(name, LITE[model].stages) for name in shipped]

    assert sorted(translated) == sorted(there)
    assert all(
        there[name].shape == value.shape
        for name, value in zip(translated, shipped.values(), strict=True)
    )


# ImageNet's classes for what the photographs that scikit-learn ships show.
DAISY, PALACE = 985, 698


@pytest.mark.parametrize(
    ("model", "file", "expected"),
    [
        ("lite0", "flower.jpg", DAISY),
        ("lite0", "china.jpg", PALACE),
        ("lite1", "china.jpg", PALACE),
        ("lite2", "china.jpg", PALACE),
    ],
)
def test_it_names_what_is_in_a_photograph(model: str, file: str, expected: int) -> None:
    import torch
    from sklearn.datasets import load_sample_images

    from model.backbones.families.bundled import classifier
    from model.embedding.preprocessing import prepare

    dataset = load_sample_images()
    index = next(i for i, name in enumerate(dataset.filenames) if name.endswith(file))
    spec = get_backbone(f"bundled:{model}")
    pixels = prepare(Image.fromarray(dataset.images[index]), spec)
    x = (pixels.astype(np.float32) / 255 - 0.5) / 0.5
    with torch.inference_mode():
        logits = classifier(model)(torch.from_numpy(x.transpose(2, 0, 1))[None])[0]
    assert int(logits.argmax()) == expected


def test_the_features_are_what_the_classifier_reads() -> None:
    import torch

    from model.backbones.families.bundled import classifier

    spec = get_backbone("bundled:lite0")
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 224, 224)).astype(np.float32))
    whole = classifier("lite0")
    with torch.inference_mode():
        features = build_module(spec)(x)
        torch.testing.assert_close(whole.classifier(features), whole(x))

    assert features.shape == (2, spec.dim)
    assert features.dtype == torch.float32
