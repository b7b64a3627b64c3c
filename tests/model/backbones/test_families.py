"""Backbones that aren't bundled: whose names, weights and ways of preparing images are others'."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

from model.backbones import (
    BackboneUnavailableError,
    UnknownBackboneError,
    build_module,
    get_backbone,
)
from model.backbones.families.timm_models import Timm
from model.backbones.families.torchvision_models import Torchvision
from model.backbones.families.weight_files import WeightFile
from model.embedding import open_embedder
from model.embedding.preprocessing import prepare
from model.embedding.torch_runtime import TorchEmbedder

REVISION = "0" * 40


@pytest.fixture(autouse=True)
def caches(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches of the two hubs, and addresses where nobody answers."""
    from huggingface_hub import constants

    folder = tmp_path_factory.mktemp("hubs")
    monkeypatch.setenv("TORCH_HOME", str(folder / "torch"))
    monkeypatch.setenv("HF_HUB_CACHE", str(folder / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hf"))
    return folder


@pytest.fixture
def noise() -> Image.Image:
    """An image that no two ways of preparing make the same of."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
    return small.resize((320, 240), Image.Resampling.BICUBIC)


def keep_in_hub_cache(caches: Path, repository: str, module: torch.nn.Module) -> None:
    """As `hf_hub_download` would have left the file."""
    folder = caches / "hf" / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(REVISION)
    (folder / "snapshots" / REVISION).mkdir(parents=True)
    save_file(module.state_dict(), folder / "snapshots" / REVISION / "model.safetensors")


def features(name: str, image: Image.Image, folder: Path) -> NDArray[np.float16]:
    embedder = open_embedder(name, device="cpu", precision="float32", cache_dir=folder)
    found = embedder.embed([embedder.prepare(image)] * 3)
    embedder.close()
    return found


@pytest.mark.slow
def test_a_vit_of_timm_from_the_hubs_cache_gives_what_timm_gives(
    caches: Path, noise: Image.Image, tmp_path: Path
) -> None:
    whole = timm.create_model("test_vit").eval()
    keep_in_hub_cache(caches, "timm/test_vit.r160_in1k", whole)

    ours = features("timm:test_vit", noise, tmp_path)

    config = timm.data.resolve_data_config({}, model=whole)
    images = timm.data.create_transform(**config)(noise)[None]
    with torch.inference_mode():
        theirs = whole.forward_head(whole.forward_features(images), pre_logits=True)[0].numpy()
    assert ours.shape == (3, whole.num_features)
    np.testing.assert_allclose(ours[2], theirs, atol=0.02 * np.abs(theirs).max())
    # What was found is kept, and holds when the hub's cache is emptied.
    code = (
        "import sys; from pathlib import Path; from model.backbones import get_backbone;"
        f"print(get_backbone('timm:test_vit', Path({str(tmp_path)!r})).dim, 'torch' in sys.modules)"
    )
    (caches / "hf").rename(caches / "gone")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(whole.num_features), "False"]


def test_another_input_size_has_position_embeddings_interpolated(caches: Path) -> None:
    keep_in_hub_cache(caches, "timm/test_vit.r160_in1k", timm.create_model("test_vit"))

    found = Timm().inspect("test_vit?size=96x64")

    assert found is not None
    assert found.spec.shape == (96, 64)
    assert build_module(found.spec)(torch.zeros(2, 3, 96, 64)).shape == (2, found.spec.dim)


def test_weights_that_cannot_be_had_are_answered_with_where_they_were_looked_for(
    caches: Path,
) -> None:
    with pytest.raises(BackboneUnavailableError) as error:
        Timm().inspect("resnet18.a1_in1k")

    said = str(error.value)
    assert str(caches / "hf" / "models--timm--resnet18.a1_in1k") in said
    assert str(caches / "torch" / "hub" / "checkpoints" / "resnet18_a1_0-d63eafa0.pth") in said
    assert "https://huggingface.co/timm/resnet18.a1_in1k: not asked, since HF_HUB_OFFLINE" in said
    assert "file:PATH" in said


@pytest.mark.slow
def test_a_misspelt_model_of_timm_is_answered_with_what_comes_near() -> None:
    with pytest.raises(UnknownBackboneError, match="did you mean timm:resnet18 "):
        get_backbone("timm:resnt18")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("tim:resnet18", "did you mean timm:resnet18"),
        ("timm:resnet18?siez=96", "did you mean size=…"),
        ("timm:resnet18?size=big", "write size=224"),
        ("file:/weights.pth", r"say which model .*\?model=timm:resnet18"),
    ],
)
def test_other_mistakes_in_a_name_are_answered_too(name: str, hint: str) -> None:
    with pytest.raises(UnknownBackboneError, match=hint):
        Timm().inspect(name.partition(":")[2]) if name.startswith("timm:") else get_backbone(name)


def test_a_model_of_torchvision_comes_with_the_transforms_of_its_weights(
    caches: Path, noise: Image.Image
) -> None:
    weights = torchvision.models.ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1
    whole = torchvision.models.shufflenet_v2_x0_5().eval()
    checkpoints = caches / "torch" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    torch.save(whole.state_dict(), checkpoints / Path(weights.url).name)

    found = Torchvision().inspect("shufflenet_v2_x0_5")

    assert found is not None
    embedder = TorchEmbedder(found.spec, device="cpu", precision="float32")
    ours = torch.from_numpy(embedder.embed([embedder.prepare(noise)]).astype(np.float32))
    with torch.inference_mode():
        theirs = whole(weights.transforms()(noise)[None])
        torch.testing.assert_close(whole.fc(ours), theirs, atol=0.02, rtol=0.02)


@pytest.mark.parametrize(
    ("model", "dim"),
    [
        ("alexnet", 4096),
        ("vgg11", 4096),
        ("resnet18", 512),
        ("squeezenet1_1", 512),
        ("densenet121", 1024),
        ("mobilenet_v3_small", 1024),
        ("googlenet", 1024),
        ("convnext_tiny", 768),
        ("swin_t", 768),
        ("vit_b_32", 768),
    ],
)
def test_the_classifier_of_any_of_torchvisions_architectures_is_left_out(
    model: str, dim: int
) -> None:
    from model.backbones.families.torchvision_models import architecture

    with torch.device("meta"):
        module = architecture(model, {})
        assert module(torch.zeros(2, 3, 224, 224)).shape == (2, dim)


@pytest.mark.parametrize("kind", ["safetensors", "checkpoint"])
def test_a_file_of_weights_serves_a_model_by_name(
    kind: str, noise: Image.Image, tmp_path: Path
) -> None:
    # Trained on seven classes of one's own, by a script that wrapped the model.
    whole = timm.create_model("test_resnet", num_classes=7).eval()
    path = tmp_path / ("weights.safetensors" if kind == "safetensors" else "weights.pth")
    if kind == "safetensors":
        save_file(whole.state_dict(), path)
    else:
        state = {f"module.{key}": value for key, value in whole.state_dict().items()}
        torch.save({"state_dict": state, "epoch": 3}, path)

    found = WeightFile().inspect(f"{path}?model=timm:test_resnet")

    assert found is not None
    module = build_module(found.spec)
    images = torch.from_numpy(prepare(noise, found.spec).copy()).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        expected = whole.forward_head(whole.forward_features(images), pre_logits=True)
        torch.testing.assert_close(module(images), expected)


@pytest.mark.slow
def test_other_weights_under_the_same_name_are_another_space(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    name = f"file:{path}?model=timm:test_resnet"
    spaces = []
    for _ in range(2):
        save_file(timm.create_model("test_resnet").state_dict(), path)
        spaces.append(get_backbone(name, tmp_path).space("float32"))

    assert spaces[0] != spaces[1]
    assert all(space.startswith(f"{name}#") for space in spaces)


def test_weights_of_another_model_are_refused_with_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)

    with pytest.raises(BackboneUnavailableError, match=r"doesn't fit the model: .* are missing"):
        WeightFile().inspect(f"{path}?model=timm:test_vit")


def test_a_pickle_that_would_run_code_is_not_read(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "touched",))  # type: ignore[return-value]

    path = tmp_path / "weights.pth"
    torch.save({"state_dict": Evil()}, path)

    with pytest.raises(BackboneUnavailableError, match="can't be read as a state dict") as refused:
        WeightFile().inspect(f"{path}?model=timm:test_resnet")
    assert "weights_only" not in str(refused.value)
    assert "likely succeed" not in str(refused.value)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("shape", [(224, 224), (192, 96)])
@pytest.mark.parametrize("size", [(320, 240), (100, 333)])
def test_each_way_of_cropping_gives_timms_pixels(
    mode: str, shape: tuple[int, int], size: tuple[int, int], noise: Image.Image
) -> None:
    from dataclasses import replace

    spec = replace(
        get_backbone("bundled:lite0"),
        input_size=shape[0],
        input_width=shape[1],
        crop_mode=mode,
        crop_pct=0.9 if mode != "border" else 1.0,
        interpolation="bilinear",
    )
    image = noise.resize(size)
    transform = timm.data.create_transform(
        (3, *shape),
        interpolation="bilinear",
        crop_pct=spec.crop_pct,
        crop_mode=mode,
        mean=spec.mean,
        std=(1,) * 3,
    )
    theirs = ((transform(image).numpy().transpose(1, 2, 0) + 0.5) * 255).round()

    difference = np.abs(prepare(image, spec) - theirs)

    assert difference.max() <= 3
    assert difference.mean() < 0.3
