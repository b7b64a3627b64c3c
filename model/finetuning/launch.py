"""Runs a fine-tuning in this process, or by torchrun in one process for each GPU.

torchrun starts `python -m model.finetuning.launch FOLDER` in each process.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO

import torch

from model.embedding.devices import available_cpus, resolve_device
from model.finetuning.progress import Callbacks, Cancelled, Progress
from model.finetuning.results import CannotFinetuneError
from model.finetuning.run import Run
from model.finetuning.specification import Specification
from model.finetuning.training.distributed import ProcessGroup
from model.processes import exit_with_parent

POLL_SECONDS = 0.2  # how often `stop` is asked while other processes work
END_SECONDS = 1.0  # from SIGTERM to SIGKILL
LOG_TAIL = 4000  # characters of their log in an error


def run_alone(
    specification: Specification,
    folder: Path,
    report: Callable[[Progress], None],
    stop: Callable[[], bool],
) -> None:
    """Run it in this process; torch's threads and random state are restored afterwards."""
    threads = torch.get_num_threads()
    on_gpu = resolve_device(specification.options.device) == "cuda"
    try:
        if not on_gpu:
            torch.set_num_threads(specification.options.threads or available_cpus())
        with torch.random.fork_rng():
            Run(specification, folder, Callbacks(report, stop), ProcessGroup())()
    finally:
        torch.set_num_threads(threads)
        if on_gpu:
            torch.cuda.empty_cache()


def run_together(
    folder: Path, processes: int, report: Callable[[Progress], None], stop: Callable[[], bool]
) -> None:
    """Run it in several processes.

    Raises Cancelled, CannotFinetuneError, and RuntimeError when a process failed.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={processes}", "-m", "model.finetuning.launch", str(folder)]
    # They end when the writing end of this pipe does, also by a kill of this process.
    reading_end, writing_end = os.pipe()
    log = (folder / "processes.log").open("w+")
    child = subprocess.Popen(
        command,
        stdin=reading_end,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        start_new_session=True,
        # On busy processors threads that spin while they wait take the time that the others need.
        env={"OMP_WAIT_POLICY": "passive", **os.environ},
    )
    try:
        assert child.stdout is not None, "it was asked for"
        _relay(child, child.stdout, report, stop)
        if child.returncode:
            log.seek(0)
            output = log.read()
            refusal = [line for line in output.splitlines() if CannotFinetuneError.__name__ in line]
            if refusal:
                raise CannotFinetuneError(refusal[-1].partition(": ")[2])
            raise RuntimeError(f"Fine-tuning in {processes} processes failed: {output[-LOG_TAIL:]}")
    finally:
        os.close(reading_end)
        os.close(writing_end)
        _end(child)
        log.close()


def _relay(
    child: "subprocess.Popen[str]",
    output: IO[str],
    report: Callable[[Progress], None],
    stop: Callable[[], bool],
) -> None:
    """Pass on the progress that the first process prints, until all have ended."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        for line in output:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        if stop():
            raise Cancelled
        try:
            line = lines.get(timeout=POLL_SECONDS)
        except queue.Empty:
            continue
        if line is None:
            child.wait()
            return
        if line.startswith("{"):
            report(Progress(**json.loads(line)))


def _end(child: "subprocess.Popen[str]") -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if child.stdout is not None:
        child.stdout.close()


def _print_progress(progress: Progress) -> None:
    print(json.dumps(asdict(progress)), flush=True)  # noqa: T201 - the parent reads it


def main(folder: Path) -> None:
    """Run one of the processes that torchrun started."""
    exit_with_parent()
    specification = Specification.load(folder)
    device = resolve_device(specification.options.device)
    group = ProcessGroup.join(device)
    if device == "cpu":
        torch.set_num_threads(
            max(1, (specification.options.threads or available_cpus()) // group.size)
        )
    callbacks = Callbacks(_print_progress if group.is_first else lambda _: None, lambda: False)
    try:
        Run(specification, folder, callbacks, group)()
    finally:
        group.destroy()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
