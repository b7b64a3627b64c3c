"""Backbones from Keras files, in an environment that has Keras: `make test-extras`."""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

os.environ["KERAS_BACKEND"] = "torch"
import keras

from model.backbones import BackboneUnavailableError, get_backbone
from model.backbones.families.keras_models import KerasFile
from model.embedding import open_embedder
from model.embedding.torch_runtime import TorchEmbedder

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))


def lenet() -> keras.Model:
    """LeNet-5 on gray images of 28 pixels."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(6, 5, activation="tanh", padding="same"),
            layers.AveragePooling2D(2),
            layers.Conv2D(16, 5, activation="tanh"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(120, activation="tanh"),
            layers.Dense(84, activation="tanh", name="f6"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def transfer(prepare: keras.layers.Layer | None) -> keras.Model:
    """What a tutorial on transfer learning ends with."""
    base = keras.applications.MobileNetV2((64, 64, 3), 0.35, include_top=False, weights=None)
    images = keras.Input((64, 64, 3))
    x = base(images if prepare is None else prepare(images), training=False)
    x = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(images, keras.layers.Dense(5)(x))


def before_the_last_dense(model: keras.Model, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    cut = keras.Model(model.inputs, model.layers[-1].input)
    found: NDArray[np.float32] = keras.ops.convert_to_numpy(cut(pixels[None]))[0]
    return found


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_lenet_from_either_kind_of_file_gives_its_last_hidden_layer(
    suffix: str, tmp_path: Path
) -> None:
    model = lenet()
    path = tmp_path / f"lenet.{suffix}"
    model.save(path)

    embedder = open_embedder(
        f"keras:{path}", device="cpu", precision="float32", cache_dir=tmp_path / "cache"
    )
    ours = embedder.embed([embedder.prepare(IMAGE)] * 3)

    gray = np.asarray(IMAGE.resize((28, 28), Image.Resampling.BILINEAR), np.float32) / 255
    theirs = before_the_last_dense(model, (gray @ np.float32([0.299, 0.587, 0.114]))[..., None])
    assert type(embedder).__name__ == "OpenVINOEmbedder"
    assert ours.shape == (3, 84)
    np.testing.assert_allclose(ours[1], theirs, atol=2e-3)


@pytest.mark.parametrize(
    ("prepare", "scale", "offset"),
    [
        (None, 127.5, -1),  # as keras.applications' mobilenet_v2.preprocess_input
        (keras.layers.Rescaling(1 / 255), 255, 0),  # the file says it
    ],
)
def test_images_are_prepared_as_the_model_was_trained(
    prepare: keras.layers.Layer | None, scale: float, offset: float, tmp_path: Path
) -> None:
    model = transfer(prepare)
    path = tmp_path / "transfer.keras"
    model.save(path)

    found = KerasFile().inspect(str(path))

    assert found is not None
    embedder = TorchEmbedder(found.spec, device="cpu", precision="float32")
    ours = embedder.embed([embedder.prepare(IMAGE)])[0]
    pixels = np.asarray(IMAGE.resize((64, 64), Image.Resampling.BILINEAR), np.float32)
    given = pixels if prepare is not None else pixels / scale + offset
    theirs = before_the_last_dense(model, given)
    np.testing.assert_allclose(ours, theirs, atol=2e-3 * max(1, np.abs(theirs).max()))


def test_a_map_of_features_is_averaged_and_blue_comes_first_where_it_did(tmp_path: Path) -> None:
    model = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    path = tmp_path / "vgg.keras"
    model.save(path)

    found = KerasFile().inspect(str(path))

    assert found is not None
    embedder = TorchEmbedder(found.spec, device="cpu", precision="float32")
    ours = embedder.embed([embedder.prepare(IMAGE)])[0]
    pixels = np.asarray(IMAGE.resize((32, 32), Image.Resampling.BILINEAR), np.float32)
    prepared = keras.applications.vgg16.preprocess_input(pixels.copy()[None])
    theirs = keras.ops.convert_to_numpy(model(prepared)).mean((0, 1, 2))
    np.testing.assert_allclose(ours, theirs, atol=0.01 * np.abs(theirs).max())


def test_an_efficientnet_that_normalises_by_itself_runs_on_openvino(tmp_path: Path) -> None:
    model = keras.applications.EfficientNetB0(weights=None, classes=3, input_shape=(64, 64, 3))
    path = tmp_path / "efficientnet.keras"
    model.save(path)

    embedder = open_embedder(
        f"keras:{path}", device="cpu", precision="float32", cache_dir=tmp_path / "cache"
    )

    assert type(embedder).__name__ == "OpenVINOEmbedder"
    assert get_backbone(f"keras:{path}", tmp_path / "cache").std == (1 / 255,) * 3


def test_code_in_a_file_is_refused(tmp_path: Path) -> None:
    images = keras.Input((32, 32, 3))
    path = tmp_path / "code.keras"
    keras.Model(images, keras.layers.Lambda(lambda x: x * 2)(images)).save(path)

    with pytest.raises(BackboneUnavailableError, match=r"Keras can't read .*Lambda"):
        KerasFile().inspect(str(path))
