"""Runs a fine-tuning from its decoded images to the result file, in each of its processes."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from model.backbones import build_module, get_backbone
from model.backbones.families.tuned import write_tuned
from model.embedding.devices import resolve_device, resolve_precision
from model.finetuning.data.batches import Batches, sampling_weights
from model.finetuning.data.device_images import DeviceImages, full_image_spec
from model.finetuning.data.image_store import open_stored_images
from model.finetuning.network import lora
from model.finetuning.network.initial_heads import initial_head_layers
from model.finetuning.network.layers import choose_method, freeze, learning_rate
from model.finetuning.network.losses import TargetTensors
from model.finetuning.network.network import HeadLayer, Network
from model.finetuning.options import Method
from model.finetuning.progress import Callbacks, Progress
from model.finetuning.results import CannotFinetuneError, Evaluation
from model.finetuning.specification import OUTPUTS, RESULT, TUNED, Specification
from model.finetuning.training import checkpoint
from model.finetuning.training.distributed import ProcessGroup
from model.finetuning.training.loop import TrainingLoop, use_weights
from model.finetuning.training.stepper import Stepper
from model.finetuning.training.validation import Validator
from model.finetuning.training.weight_interpolation import Interpolation, best_interpolation
from model.micro_batches import MicroBatches

START = "start"

# Rows of a micro-batch. On a CPU small ones are the fastest, and cancelling waits for one.
CPU_MICRO_BATCH, GPU_MICRO_BATCH = 8, 64
EVALUATION_FACTOR = 4  # micro-batches are as many times larger without gradients
SMALL_SET, SMALL_BATCH, BATCH = 2000, 16, 32  # rows, and the default batches below and above
# Epochs: enough to train on this many images, within these bounds.
IMAGES_SEEN, FEWEST_EPOCHS, MOST_EPOCHS = 6000, 4, 30


class Run:
    """A fine-tuning in this process."""

    def __init__(
        self, specification: Specification, folder: Path, callbacks: Callbacks, group: ProcessGroup
    ) -> None:
        self._specification, self._folder = specification, folder
        self._callbacks, self._group = callbacks, group
        options = specification.options
        device = resolve_device(options.device)
        spec = get_backbone(specification.backbone, specification.backbones)
        pixels, readable = open_stored_images(spec, specification.count, folder)
        backbone = build_module(spec, specification.backbones).eval().to(torch.device(device))
        self._backbone = backbone.to(memory_format=torch.channels_last)
        self._spec = full_image_spec(self._backbone, spec)
        bfloat16 = resolve_precision(options.precision, device) == "bfloat16"
        self._images = DeviceImages(pixels, self._spec, torch.device(device), bfloat16)
        labelled = np.any([t.labelled() for t in specification.targets], axis=0)
        self._training = readable & labelled & ~specification.validation
        self._validation = np.nonzero(readable & specification.validation)[0]
        self._micro_batches = MicroBatches(
            options.micro_batch or (GPU_MICRO_BATCH if device == "cuda" else CPU_MICRO_BATCH)
        )

    def __call__(self) -> None:
        """Train, interpolate the weights, and write the result into the folder."""
        network, start, method = self._network()
        target_tensors = tuple(
            TargetTensors.of(t, self._training, self._images.device)
            for t in self._specification.targets
        )
        evaluation_batches = MicroBatches(self._micro_batches.size * EVALUATION_FACTOR)
        validator = Validator(self._images, target_tensors, self._validation, evaluation_batches)
        stepper, training = self._prepared(network, target_tensors, validator, method)
        training.run()
        if not self._group.is_first:
            return
        with use_weights(stepper, training.best):
            lora.merge_adapters(network.backbone)
            step = training.best_at.step if training.best_at else stepper.steps
            best = best_interpolation(network, start, validator, step, self._counter("choosing"))
            self._write(network, best, target_tensors, method, training.history)

    def _prepared(
        self,
        network: Network,
        target_tensors: tuple[TargetTensors, ...],
        validator: Validator,
        method: Method,
    ) -> tuple[Stepper, TrainingLoop]:
        options, rows = self._specification.options, np.nonzero(self._training)[0]
        size = options.batch_size or (SMALL_BATCH if len(rows) < SMALL_SET else BATCH)
        balance = sampling_weights(self._specification.targets, rows, options.balance)
        batches = Batches(rows, balance, size, options.seed)
        epochs = options.epochs or min(max(IMAGES_SEEN / len(rows), FEWEST_EPOCHS), MOST_EPOCHS)
        stepper = Stepper(
            network,
            target_tensors,
            self._images,
            options,
            self._group,
            rate=learning_rate(options, network.backbone, method),
            steps=max(1, round(epochs * batches.steps_per_epoch)),
            micro_batches=self._micro_batches,
        )
        training = TrainingLoop(
            stepper, batches, validator, options, self._group, self._folder, self._callbacks
        )
        return stepper, training

    def _network(self) -> tuple[Network, dict[str, torch.Tensor], Method]:
        """Return the network ready to train, its initial weights, and the method."""
        backbone = self._backbone
        layers = self._start_layers(backbone)
        network = Network(backbone, layers).to(self._images.device)
        start = {n: v.detach().clone() for n, v in network.state_dict().items()}
        method = choose_method(
            self._specification.options.method, backbone, int(self._training.sum())
        )
        torch.manual_seed(self._specification.options.seed)  # of the adapters' initial weights
        freeze(backbone, method)
        return network, start, method

    def _start_layers(self, backbone: torch.nn.Module) -> dict[str, HeadLayer]:
        """Return the initial head layers, fitted by the first process and read by the others."""
        path = self._folder / f"{START}.safetensors"
        if self._group.is_first and checkpoint.read(path) is None:
            rows = np.nonzero(self._training)[0]
            if not len(rows):
                raise CannotFinetuneError("There is no labelled image to fine-tune on.")
            count = self._counter("features")
            micro_batches = MicroBatches(self._micro_batches.size * EVALUATION_FACTOR)
            features = np.zeros((self._specification.count, self._spec.dim), np.float32)
            features[rows] = self._images.outputs(
                backbone, rows, micro_batches, lambda done: count(done, len(rows))
            ).numpy()
            layers = initial_head_layers(
                self._specification.targets,
                features,
                self._training,
                self._specification.heads,
                seed=self._specification.options.seed,
            )
            tensors = {
                f"{number}.{part}": value
                for number, layer in enumerate(layers.values())
                for part, value in layer.state_dict().items()
            }
            powers = {name: layer.power for name, layer in layers.items()}
            checkpoint.write(path, tensors, {"powers": powers})
        self._group.barrier()
        saved = checkpoint.read(path)
        assert saved is not None, "the first process wrote it"
        tensors, facts = saved
        layers = {}
        for number, target in enumerate(self._specification.targets):
            layer = HeadLayer(self._spec.dim, target.width, facts["powers"][target.name])
            layer.load_state_dict(checkpoint.without_prefix(tensors, f"{number}."))
            layers[target.name] = layer
        return layers

    def _write(
        self,
        network: Network,
        best: Interpolation,
        target_tensors: tuple[TargetTensors, ...],
        method: Method,
        history: list[Evaluation],
    ) -> None:
        position = np.full(self._specification.count, -1)
        position[self._validation] = np.arange(len(self._validation))
        # Of each validation row among those that could be read; -1 for the others.
        positions = position[self._specification.validation]
        outputs = {}
        for number, tensors in enumerate(target_tensors):
            values = tensors.unstandardised(best.outputs[tensors.target.name])
            rows = np.full((len(positions), tensors.target.width), np.nan, np.float32)
            rows[positions >= 0] = values[positions[positions >= 0]]
            outputs[str(number)] = rows
        facts = {
            "method": method,
            "share": best.evaluation.share,
            "seed": self._specification.options.seed,
            "labels": int(self._training.sum()),
        }
        digest = write_tuned(self._folder / TUNED, network.backbone.state_dict(), self._spec, facts)
        save_file(outputs, self._folder / OUTPUTS)
        result = {
            "digest": digest,
            "method": method,
            "history": [asdict(e) for e in (*history, *best.tried, best.evaluation)],
        }
        (self._folder / RESULT).with_suffix(".new").write_text(json.dumps(result))
        (self._folder / RESULT).with_suffix(".new").replace(self._folder / RESULT)

    def _counter(self, phase: str) -> Callable[[int, int], None]:
        """Return a function that reports the number of images done, and may raise Cancelled."""
        began = time.monotonic()

        def count(done: int, total: int) -> None:
            self._callbacks.check()
            seconds = max(time.monotonic() - began, 1e-9)
            rate = done / seconds
            left = (total - done) / rate if rate else None
            self._callbacks.report(Progress(done, total, None, rate, left, phase))

        return count
