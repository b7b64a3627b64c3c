"""A prepared job from its stored images to the tuned file, in one process or in several."""

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
from model.finetuning import checkpoint
from model.finetuning.choosing import Choice, choose
from model.finetuning.data.batches import Batches, sampling_weights
from model.finetuning.data.images import stored_images
from model.finetuning.data.view import View, whole_view
from model.finetuning.job import OUTPUTS, RESULT, TUNED, Job
from model.finetuning.memory import Parts
from model.finetuning.network import lora
from model.finetuning.network.layers import choose_method, freeze, learning_rate
from model.finetuning.network.losses import Truth
from model.finetuning.network.network import HeadLayer, Network
from model.finetuning.network.start import start_layers
from model.finetuning.shared import Team
from model.finetuning.steps import Stepper
from model.finetuning.terms import (
    CannotFinetuneError,
    Evaluation,
    Method,
    Progress,
)
from model.finetuning.training import Talk, Training, Trial, weights

START = "start"

# Rows computed at a time. On a CPU small parts are the fastest, and a cancel waits for one.
CPU_PART, GPU_PART = 8, 64
EVALUATION_PARTS = 4  # as many times more without gradients
SMALL_SET, SMALL_BATCH, BATCH = 2000, 16, 32  # rows, and the default batches below and above
# Passes: enough to look at this many images, within these bounds.
LOOKS, FEWEST_EPOCHS, MOST_EPOCHS = 6000, 4, 30


class Run:
    """The job in this process."""

    def __init__(self, job: Job, folder: Path, talk: Talk, team: Team) -> None:
        self._job, self._folder, self._talk, self._team = job, folder, talk, team
        options = job.options
        device = resolve_device(options.device)
        spec = get_backbone(job.backbone, job.backbones)
        pixels, readable = stored_images(spec, job.count, folder)
        backbone = build_module(spec, job.backbones).eval().to(torch.device(device))
        self._backbone = backbone.to(memory_format=torch.channels_last)
        self._spec = whole_view(self._backbone, spec)
        bfloat16 = resolve_precision(options.precision, device) == "bfloat16"
        self._view = View(pixels, self._spec, torch.device(device), bfloat16)
        labelled = np.any([t.known() for t in job.targets], axis=0)
        self._training = readable & labelled & ~job.validation
        self._validation = np.nonzero(readable & job.validation)[0]
        self._parts = Parts(options.micro_batch or (GPU_PART if device == "cuda" else CPU_PART))

    def __call__(self) -> None:
        """Tune, choose, and write the result into the folder."""
        network, start, method = self._network()
        truths = tuple(Truth.of(t, self._training, self._view.device) for t in self._job.targets)
        evaluation_parts = Parts(self._parts.size * EVALUATION_PARTS)
        trial = Trial(self._view, truths, self._validation, evaluation_parts)
        stepper, training = self._prepared(network, truths, trial, method)
        training.run()
        if not self._team.first:
            return
        with weights(stepper, training.best):
            lora.merge_adapters(network.backbone)
            step = training.best_at.step if training.best_at else stepper.steps
            choice = choose(network, start, trial, step, self._counter("choosing"))
            self._write(network, choice, truths, method, training.history)

    def _prepared(
        self, network: Network, truths: tuple[Truth, ...], trial: Trial, method: Method
    ) -> tuple[Stepper, Training]:
        options, rows = self._job.options, np.nonzero(self._training)[0]
        size = options.batch_size or (SMALL_BATCH if len(rows) < SMALL_SET else BATCH)
        balance = sampling_weights(self._job.targets, rows, options.balance)
        batches = Batches(rows, balance, size, options.seed)
        epochs = options.epochs or min(max(LOOKS / len(rows), FEWEST_EPOCHS), MOST_EPOCHS)
        stepper = Stepper(
            network,
            truths,
            self._view,
            options,
            self._team,
            rate=learning_rate(options, network.backbone, method),
            steps=max(1, round(epochs * batches.steps_per_epoch)),
            parts=self._parts,
        )
        training = Training(stepper, batches, trial, options, self._team, self._folder, self._talk)
        return stepper, training

    def _network(self) -> tuple[Network, dict[str, torch.Tensor], Method]:
        """The network ready to train, its weights at the start, and what is trained of it."""
        backbone = self._backbone
        layers = self._start_layers(backbone)
        network = Network(backbone, layers).to(self._view.device)
        start = {n: v.detach().clone() for n, v in network.state_dict().items()}
        method = choose_method(self._job.options.method, backbone, int(self._training.sum()))
        torch.manual_seed(self._job.options.seed)  # of the adapters' start
        freeze(backbone, method)
        return network, start, method

    def _start_layers(self, backbone: torch.nn.Module) -> dict[str, HeadLayer]:
        """The heads to start from, fitted by the first process and read by the others."""
        path = self._folder / f"{START}.safetensors"
        if self._team.first and checkpoint.read(path) is None:
            rows = np.nonzero(self._training)[0]
            if not len(rows):
                raise CannotFinetuneError("There is no labelled image to fine-tune on.")
            count = self._counter("features")
            parts = Parts(self._parts.size * EVALUATION_PARTS)
            features = np.zeros((self._job.count, self._spec.dim), np.float32)
            features[rows] = self._view.outputs(
                backbone, rows, parts, lambda done: count(done, len(rows))
            ).numpy()
            layers = start_layers(
                self._job.targets,
                features,
                self._training,
                self._job.heads,
                seed=self._job.options.seed,
            )
            tensors = {
                f"{number}.{part}": value
                for number, layer in enumerate(layers.values())
                for part, value in layer.state_dict().items()
            }
            powers = {name: layer.power for name, layer in layers.items()}
            checkpoint.write(path, tensors, {"powers": powers})
        self._team.wait()
        found = checkpoint.read(path)
        assert found is not None, "the first process wrote it"
        tensors, facts = found
        layers = {}
        for number, target in enumerate(self._job.targets):
            layer = HeadLayer(self._spec.dim, target.width, facts["powers"][target.name])
            layer.load_state_dict(checkpoint.part(tensors, f"{number}."))
            layers[target.name] = layer
        return layers

    def _write(
        self,
        network: Network,
        choice: Choice,
        truths: tuple[Truth, ...],
        method: Method,
        history: list[Evaluation],
    ) -> None:
        told = np.full(self._job.count, -1)
        told[self._validation] = np.arange(len(self._validation))
        places = told[self._job.validation]  # of each validation row among the readable ones
        outputs = {}
        for number, truth in enumerate(truths):
            stated = truth.stated(choice.outputs[truth.target.name])
            each = np.full((len(places), truth.target.width), np.nan, np.float32)
            each[places >= 0] = stated[places[places >= 0]]
            outputs[str(number)] = each
        facts = {
            "method": method,
            "share": choice.evaluation.share,
            "seed": self._job.options.seed,
            "labels": int(self._training.sum()),
        }
        digest = write_tuned(self._folder / TUNED, network.backbone.state_dict(), self._spec, facts)
        save_file(outputs, self._folder / OUTPUTS)
        result = {
            "digest": digest,
            "method": method,
            "history": [asdict(e) for e in (*history, *choice.tried, choice.evaluation)],
        }
        (self._folder / RESULT).with_suffix(".new").write_text(json.dumps(result))
        (self._folder / RESULT).with_suffix(".new").replace(self._folder / RESULT)

    def _counter(self, phase: str) -> Callable[[int, int], None]:
        """What reports images that are done, and may raise Cancelled."""
        began = time.monotonic()

        def count(done: int, of: int) -> None:
            self._talk.check()
            seconds = max(time.monotonic() - began, 1e-9)
            rate = done / seconds
            left = (of - done) / rate if rate else None
            self._talk.report(Progress(done, of, None, rate, left, phase))

        return count
