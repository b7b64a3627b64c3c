"""Backbones from SavedModels, in an environment that has TensorFlow: `make test-extras`."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["KERAS_BACKEND"] = "tensorflow"
import tensorflow as tf

from model.backbones import BackboneUnavailableError
from model.backbones.families.tensorflow_models import SavedModel, chosen_output
from model.embedding import open_embedder
from model.embedding.torch_runtime import TorchEmbedder

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))


class Network(tf.Module):  # type: ignore[misc]
    """A convolution with three outputs, for images of any size."""

    def __init__(self) -> None:
        self.weights = tf.Variable(tf.random.stateless_normal((5, 5, 3, 7), (0, 1)))

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)])  # type: ignore[untyped-decorator]
    def __call__(self, images):  # type: ignore[no-untyped-def]
        """The map, its average, and three of its channels."""
        maps = tf.nn.relu(tf.nn.conv2d(images, self.weights, 2, "SAME"))
        features = tf.reduce_mean(maps, [1, 2])
        return {"maps": maps, "features": features, "logits": features[:, :3]}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network as a SavedModel."""
    folder = tmp_path_factory.mktemp("saved")
    network = Network()
    tf.saved_model.save(network, str(folder), signatures={"serving_default": network.__call__})
    return folder


@pytest.mark.parametrize("output", ["features", "maps"])
def test_openvino_and_tensorflow_itself_give_what_the_network_gives(
    saved: Path, output: str, tmp_path: Path
) -> None:
    name = f"tensorflow:{saved}?size=48x64&output={output}"
    fast = open_embedder(name, device="cpu", precision="float32", cache_dir=tmp_path)
    found = SavedModel().inspect(name.partition(":")[2])
    assert found is not None
    slow = TorchEmbedder(found.spec, device="cpu", precision="float32")

    pixels = np.asarray(IMAGE.resize((64, 48), Image.Resampling.BILINEAR), np.float32) / 255
    theirs = Network()(pixels[None])["features"].numpy()[0]

    assert type(fast).__name__ == "OpenVINOEmbedder"
    for embedder in (fast, slow):
        ours = embedder.embed([embedder.prepare(IMAGE)] * 2)
        assert ours.shape == (2, 7)
        np.testing.assert_allclose(ours[1], theirs, atol=5e-3)


def test_a_model_exported_by_keras_is_read_with_its_own_size(tmp_path: Path) -> None:
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((32, 24, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(20),
        ]
    )
    model.export(str(tmp_path / "model"), verbose=False)

    name = f"tensorflow:{tmp_path / 'model'}?range=0..255"
    embedder = open_embedder(name, device="cpu", precision="float32", cache_dir=tmp_path / "cache")

    pixels = np.asarray(IMAGE.resize((24, 32), Image.Resampling.BILINEAR), np.float32)
    theirs = model(pixels[None]).numpy()[0]
    np.testing.assert_allclose(embedder.embed([embedder.prepare(IMAGE)])[0], theirs, atol=5e-3)


def test_an_output_by_another_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(BackboneUnavailableError, match="'feature': maps, features"):
        chosen_output({"maps": (None, 4, 4, 7), "features": (None, 7)}, "feature")


def test_of_several_outputs_the_features_are_taken() -> None:
    outputs = {"logits": (None, 1000), "pooled": (None, 64), "maps": (None, 7, 7, 64)}

    assert chosen_output(outputs, None) == "pooled"
