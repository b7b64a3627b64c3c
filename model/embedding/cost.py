"""Measures how long a backbone takes for an image on this machine, without its weights.

`python -m model.embedding.cost MODEL` prints JSON; random weights take as long as trained ones.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

from model.processes import exit_with_parent, run_module

REFERENCE = "bundled:lite0"
MEASURE_SECONDS = 300  # exporting a larger network takes half a minute on two cores
BATCH = 16
ROUNDS = 3


class CostError(RuntimeError):
    """The cost can't be measured; the message says why."""


@dataclass(frozen=True)
class Cost:
    """What a backbone costs on this machine."""

    milliseconds: float  # for an image, in batches, decoded already
    reference_milliseconds: float  # the same for the bundled backbone
    weights: int  # bytes to download


def measure_cost(model: str, device: str = "auto") -> Cost:
    """Measure a model of timm, "MODEL?OPTIONS", in a subprocess.

    Raises:
        CostError: it can't be measured here.
    """
    try:
        done = run_module("model.embedding.cost", model, device, seconds=MEASURE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise CostError(f"{model} wasn't measured within {MEASURE_SECONDS} s") from error
    try:
        return Cost(**json.loads(done.stdout.splitlines()[-1]))
    except (IndexError, ValueError, TypeError) as error:
        reason = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise CostError(f"{model} can't be measured: {reason}") from error


def _measure(model: str, device: str) -> Cost:
    import timm
    from safetensors.torch import save_file

    from model.backbones.options import split_options

    name, options = split_options(model, ("size",))
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        weights = folder / "weights.safetensors"
        save_file(timm.create_model(name).state_dict(), weights)
        asked = "&".join(["", *(f"{key}={value}" for key, value in options.items())])
        return Cost(
            _milliseconds(f"file:{weights}?model=timm:{name}{asked}", device, folder),
            _milliseconds(REFERENCE, device, folder),
            weights.stat().st_size,
        )


def _milliseconds(backbone: str, device: str, folder: Path) -> float:
    """The fastest of a few rounds: what else runs here only makes it slower."""
    from PIL import Image

    from model.embedding.embedder import open_embedder

    embedder = open_embedder(backbone, device=device, cache_dir=folder)
    try:
        batch = [embedder.prepare(Image.new("RGB", (320, 240)))] * BATCH
        embedder.embed(batch)
        rounds = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            embedder.embed(batch)
            rounds.append(time.perf_counter() - began)
    finally:
        embedder.close()
    return min(rounds) / BATCH * 1000


def main() -> None:
    """Print the cost in JSON on the last line of the standard output."""
    exit_with_parent()
    warnings.simplefilter("ignore")
    # Some libraries print while they load: their output goes to stderr.
    output = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    cost = _measure(sys.argv[1], sys.argv[2])
    with os.fdopen(output, "w") as answer:
        answer.write("\n" + json.dumps(asdict(cost)) + "\n")


if __name__ == "__main__":
    main()
