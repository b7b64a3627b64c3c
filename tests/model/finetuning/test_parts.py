"""Batches, augmentation, layers, micro-batches and weight interpolation of fine-tuning."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model.backbones import BackboneSpec
from model.finetuning import Target
from model.finetuning.data.augmentation import PRESETS, augmented, centre_crop, draw_parameters
from model.finetuning.data.batches import Batches, sampling_weights
from model.finetuning.data.device_images import DeviceImages
from model.finetuning.data.image_store import open_stored_images, store_images
from model.finetuning.network.layers import layer_groups, parameter_groups
from model.finetuning.network.losses import TargetTensors
from model.finetuning.network.network import HeadLayer, Network
from model.finetuning.options import Options
from model.finetuning.training.distributed import ProcessGroup
from model.finetuning.training.stepper import Stepper
from model.finetuning.training.weight_interpolation import interpolate
from model.heads import FitData
from model.micro_batches import MicroBatches, is_out_of_memory

CPU = torch.device("cpu")


def test_an_epoch_shows_each_row_once() -> None:
    rows = np.arange(10, 60)
    batches = Batches(rows, np.ones(50), 8, seed=3)

    seen = np.concatenate([batches.at(step) for step in range(25)])
    assert len(seen) == 200
    for epoch in range(4):
        assert sorted(seen[50 * epoch : 50 * (epoch + 1)]) == rows.tolist()
    assert seen[:50].tolist() != seen[50:100].tolist()


def test_rare_classes_are_shown_more_often() -> None:
    y = np.repeat([0, 1], [90, 10])
    rows = np.arange(100)
    target = Target("kind", "single", ("a", "b"), y)
    counts = {}
    for balance in (0.0, 0.5, 1.0):
        batches = Batches(rows, sampling_weights([target], rows, balance), 10, seed=0)
        counts[balance] = int(sum((y[batches.at(step)] == 1).sum() for step in range(100)))

    assert counts[0.0] == 100
    assert counts[0.5] == pytest.approx(250, rel=0.1)  # √10 of √10 + √90
    assert counts[1.0] == pytest.approx(500, rel=0.1)


def half_dark() -> torch.Tensor:
    pixels = torch.full((64, 3, 40, 40), 200, dtype=torch.uint8)
    pixels[..., :20] = 20
    return pixels


@pytest.mark.parametrize(
    ("preset", "mirrored", "upside_down"),
    [("gentle", False, False), ("photo", True, False), ("texture", True, True)],
)
def test_what_may_be_mirrored_is(preset: str, mirrored: bool, upside_down: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    parameters = draw_parameters(64, (40, 40), (32, 32), PRESETS[preset], generator)

    images = augmented(half_dark(), (32, 32), parameters)
    darker_left = images[..., :16].mean((1, 2, 3)) < images[..., 16:].mean((1, 2, 3))
    assert bool((~darker_left).any()) is mirrored
    turned = half_dark().transpose(2, 3)
    images = augmented(turned, (32, 32), parameters)
    darker_above = images[:, :, :16].mean((1, 2, 3)) < images[:, :, 16:].mean((1, 2, 3))
    assert bool((~darker_above).any()) is upside_down


def test_without_variation_the_geometry_is_the_middle() -> None:
    pixels = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (4, 3, 40, 40), dtype=np.uint8)
    )
    parameters = draw_parameters(4, (40, 40), (32, 32), PRESETS["none"], torch.Generator())
    parameters.affine[:, :, 2] = 0.0  # not moved

    expected = centre_crop(pixels, (32, 32))
    torch.testing.assert_close(expected, pixels[:, :, 4:36, 4:36] / 255)
    torch.testing.assert_close(augmented(pixels, (32, 32), parameters), expected, atol=1e-4, rtol=0)


def test_half_of_the_images_are_only_moved() -> None:
    random = np.random.default_rng(0)
    pixels = torch.from_numpy(random.integers(0, 256, (1, 3, 40, 40), dtype=np.uint8))
    parameters = draw_parameters(
        64, (40, 40), (32, 32), PRESETS["gentle"], torch.Generator().manual_seed(0)
    )
    parameters.contrast[:], parameters.brightness[:] = 1, 1
    known = set(pixels[0, 0].flatten().tolist())

    images = augmented(pixels.expand(64, -1, -1, -1), (32, 32), parameters)[:, 0] * 255
    exact = (images - images.round()).abs().amax((1, 2)) < 0.01
    assert 20 < int(exact.sum()) < 44
    assert {int(v) for v in images[exact].round().flatten().tolist()} <= known


@pytest.mark.parametrize("stored", [(40, 40), (48, 64)])
def test_a_turn_keeps_shapes(stored: tuple[int, int]) -> None:
    rows, columns = torch.meshgrid(*(torch.arange(side) for side in stored), indexing="ij")
    disc = (rows - stored[0] / 2 + 0.5) ** 2 + (columns - stored[1] / 2 + 0.5) ** 2 < 10**2
    pixels = (disc[None, None] * 255).to(torch.uint8).expand(8, 3, *stored)
    parameters = draw_parameters(
        8, stored, stored, PRESETS["photo"], torch.Generator().manual_seed(1)
    )
    still = torch.tensor([0.0, 0.0, 1.0]).view(1, 1, 3) == 1
    parameters.affine[still.expand_as(parameters.affine)] = 0.0  # turned and zoomed, not moved
    parameters.contrast[:], parameters.brightness[:] = 1, 1

    for image, place in zip(augmented(pixels, stored, parameters), parameters.affine, strict=True):
        area = float(image[0].sum())
        zoom = float(torch.linalg.det(place[:, :2].double()))
        assert area == pytest.approx(314 / abs(zoom), rel=0.08)
        assert float(image[0].max(0).values.sum()) == pytest.approx(
            float(image[0].max(1).values.sum()), abs=2
        )


def test_memory_that_does_not_suffice_halves_the_parts() -> None:
    done: list[list[int]] = []

    def each(rows: list[int]) -> None:
        if len(rows) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")
        done.append(list(rows))

    micro_batches = MicroBatches(16)
    attempts = 0
    while not micro_batches.run(list(range(10)), each):  # type: ignore[arg-type]
        done.clear()
        attempts += 1

    assert (attempts, micro_batches.size) == (2, 2)
    assert [row for part in done for row in part] == list(range(10))


def test_no_memory_for_one_row_is_an_error() -> None:
    def each(_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError):
        MicroBatches(1).run([0], each)


def test_the_allocator_of_the_cpu_is_understood() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)

    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


@pytest.mark.parametrize(
    ("make", "name", "first", "last", "least"),
    [
        ("timm", "tf_efficientnet_lite0", "conv_stem", "bn2", 19),
        ("timm", "vit_tiny_patch16_224", "cls_token", "norm", 15),
        ("torchvision", "resnet18", "conv1", "layer4.1", 10),
        ("torchvision", "vgg11", "features.0", "classifier.3", 10),
    ],
)
def test_layers_are_found_in_order(make: str, name: str, first: str, last: str, least: int) -> None:
    import timm
    import torchvision

    with torch.device("meta"):
        if make == "timm":
            module = timm.create_model(name, pretrained=False, num_classes=0)
        else:
            module = torchvision.models.get_model(name, weights=None)
            module.fc = module.head = torch.nn.Identity()
            if name == "vgg11":
                module.classifier[-1] = torch.nn.Identity()
    groups = layer_groups(module)

    assert groups[0][0].startswith(first)
    assert groups[-1][0].startswith(last)
    assert len(groups) >= least
    assert [n for group in groups for n in group] == [n for n, _ in module.named_parameters()]


def test_rates_fall_towards_the_image() -> None:
    backbone = torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(5)))
    network = Network(backbone, {"a": HeadLayer(4, 2, 1.0)})
    groups = parameter_groups(network, 1e-3, Options(layer_decay=0.75, head_rate=1e-2))
    rates = {id(g["params"][0]): g["peak"] for g in groups}
    decays = {id(g["params"][0]): g["weight_decay"] for g in groups}

    of_layers = [rates[id(layer.weight)] for layer in backbone]  # type: ignore[union-attr]
    assert of_layers[-1] == 1e-3
    assert of_layers[0] == pytest.approx(1e-3 * 0.75**12)
    assert of_layers == sorted(of_layers)
    assert rates[id(network.heads[0].weight)] == 1e-2
    assert all(decays[id(layer.bias)] == 0 for layer in backbone)  # type: ignore[union-attr]


def test_a_layer_gives_its_heads_logits() -> None:
    from model.heads import fit
    from model.heads.linear import LinearHead

    random = np.random.default_rng(0)
    x = random.random((60, 20)).astype(np.float32)
    y = random.integers(0, 3, 60)
    head = fit(FitData.of(x, y, ("a", "b", "c", "never"), seed=0), kind="logistic")
    assert isinstance(head, LinearHead)
    outputs = HeadLayer.of(head)(torch.from_numpy(x)).detach().numpy()

    expected = head.logits(x)
    np.testing.assert_allclose(outputs[:, :3], expected[:, :3], atol=0.02)
    assert (outputs[:, 3] < outputs[:, :3].max(axis=1)).all()


def test_half_of_the_way_is_the_mean() -> None:
    start = {"w": torch.zeros(3), "count": torch.tensor(1)}
    end = {"w": torch.tensor([2.0, 4.0, -6.0]), "count": torch.tensor(5)}

    half = interpolate(start, end, 0.5)
    assert half["w"].tolist() == [1, 2, -3]
    assert half["count"] == 5
    assert interpolate(start, end, 0.0)["w"].tolist() == [0, 0, 0]


def test_the_start_is_whole_even_where_the_end_ran_away() -> None:
    start = {"w": torch.ones(3)}

    assert interpolate(start, {"w": torch.full((3,), torch.nan)}, 0.0)["w"].tolist() == [1, 1, 1]


def test_outputs_that_ran_away_are_worse_than_any_others() -> None:
    tensors = TargetTensors.of(
        Target("kind", "single", ("a", "b"), np.array([0, 1, 1])), np.ones(3, bool), CPU
    )
    rows = torch.arange(3)
    wrong = torch.tensor([[0.0, 9.0], [9.0, 0.0], [9.0, 0.0]])
    assert tensors.error(wrong, rows)[0] == 1
    mostly_nan = torch.tensor([[9.0, 0.0], [torch.nan, 0.0], [torch.nan, 0.0]])
    assert tensors.error(mostly_nan, rows) == (np.inf, np.inf)
    assert tensors.error(wrong[:0], rows[:0]) is None


def test_a_weight_that_the_network_does_not_use_is_no_obstacle_to_going_on() -> None:
    class Partly(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used = torch.nn.Linear(3, 4)
            self.unused = torch.nn.Parameter(torch.zeros(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.used(x.mean((2, 3)))

    def stepper() -> Stepper:
        torch.manual_seed(0)
        network = Network(Partly(), {"kind": HeadLayer(4, 2, 1.0)})
        pixels = np.arange(4 * 8 * 8 * 3, dtype=np.uint8).reshape(4, 8, 8, 3)
        spec = BackboneSpec("test:partly", 4, 8, 1.0, (0.5,) * 3, (0.5,) * 3, "bilinear", "0" * 64)
        tensors = TargetTensors.of(
            Target("kind", "single", ("a", "b"), np.array([0, 1, 0, 1])), np.ones(4, bool), CPU
        )
        images = DeviceImages(pixels, spec, CPU, False)
        options = Options(device="cpu")
        return Stepper(
            network,
            [tensors],
            images,
            options,
            ProcessGroup(),
            rate=1e-2,
            steps=9,
            micro_batches=MicroBatches(4),
        )

    batch = np.arange(4)
    whole = stepper()
    whole.step(0, batch, lambda: None)
    kept = {name: tensor.clone() for name, tensor in whole.state().items()}
    whole.step(1, batch, lambda: None)
    again = stepper()
    again.restore(kept)
    again.step(1, batch, lambda: None)

    assert not [name for name in kept if name.startswith("adam.") and "unused" in name]
    for name, tensor in whole.state().items():
        torch.testing.assert_close(again.state()[name], tensor, rtol=0, atol=0)


def test_pixels_that_are_gone_are_decoded_again(tmp_path: Path) -> None:
    spec = BackboneSpec("test:any", 4, 8, 1.0, (0.5,) * 3, (0.5,) * 3, "bilinear", "0" * 64)
    loaded: list[int] = []

    def load(row: int) -> Image.Image:
        loaded.append(row)
        return Image.new("RGB", (8, 8), (row + 1, row + 1, row + 1))

    def store() -> list[int]:
        loaded.clear()
        store_images(
            range(3), load, spec, tmp_path, workers=1, report=lambda _: None, stop=lambda: False
        )
        pixels, readable = open_stored_images(spec, 3, tmp_path)
        assert readable.all()
        assert pixels[:, 0, 0, 0].tolist() == [1, 2, 3]
        return sorted(loaded)

    assert store() == [0, 1, 2]
    assert store() == []
    (tmp_path / "images.u8").unlink()  # as when a removal was cut short
    assert store() == [0, 1, 2]
