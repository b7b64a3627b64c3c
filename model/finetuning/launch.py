"""Running a prepared job: here, or by torchrun in one process a GPU.

Those processes run `python -m model.finetuning.launch FOLDER`, told by torchrun who they are.
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
from model.finetuning.job import Job
from model.finetuning.run import Run
from model.finetuning.shared import Team
from model.finetuning.terms import Cancelled, CannotFinetuneError, Progress
from model.finetuning.training import Talk
from model.processes import exit_with_the_parent

POLL_SECONDS = 0.2  # how often `stop` is asked while other processes work
END_SECONDS = 1.0  # that they have to end by themselves
LAST_WORDS = 4000  # characters of what they said that an error repeats


def run_alone(
    job: Job, folder: Path, report: Callable[[Progress], None], stop: Callable[[], bool]
) -> None:
    """The job in this process; its threads and random numbers are as before afterwards."""
    threads = torch.get_num_threads()
    on_gpu = resolve_device(job.options.device) == "cuda"
    try:
        if not on_gpu:
            torch.set_num_threads(job.options.threads or available_cpus())
        with torch.random.fork_rng():
            Run(job, folder, Talk(report, stop), Team())()
    finally:
        torch.set_num_threads(threads)
        if on_gpu:
            torch.cuda.empty_cache()


def run_together(
    folder: Path, processes: int, report: Callable[[Progress], None], stop: Callable[[], bool]
) -> None:
    """The job in several processes. Raises Cancelled, CannotFinetuneError, RuntimeError."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={processes}", "-m", "model.finetuning.launch", str(folder)]
    # They end when the writing end of this pipe does, also by a kill of this process.
    watched, held = os.pipe()
    errors = (folder / "processes.log").open("w+")
    child = subprocess.Popen(
        command,
        stdin=watched,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        start_new_session=True,
        # On busy processors threads that spin while they wait take the time that the others need.
        env={"OMP_WAIT_POLICY": "passive", **os.environ},
    )
    try:
        assert child.stdout is not None, "it was asked for"
        _relay(child, child.stdout, report, stop)
        if child.returncode:
            errors.seek(0)
            said = errors.read()
            refusal = [s for s in said.splitlines() if CannotFinetuneError.__name__ in s]
            if refusal:
                raise CannotFinetuneError(refusal[-1].partition(": ")[2])
            raise RuntimeError(f"Fine-tuning in {processes} processes failed: {said[-LAST_WORDS:]}")
    finally:
        os.close(watched)
        os.close(held)
        _end(child)
        errors.close()


def _relay(
    child: "subprocess.Popen[str]",
    output: IO[str],
    report: Callable[[Progress], None],
    stop: Callable[[], bool],
) -> None:
    """Pass on what the first process reports until all have ended."""
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


def _say(progress: Progress) -> None:
    print(json.dumps(asdict(progress)), flush=True)  # noqa: T201 - it is how the parent hears


def main(folder: Path) -> None:
    """One of the processes that torchrun started."""
    exit_with_the_parent()
    job = Job.load(folder)
    device = resolve_device(job.options.device)
    team = Team.join(device)
    if device == "cpu":
        torch.set_num_threads(max(1, (job.options.threads or available_cpus()) // team.size))
    talk = Talk(_say if team.first else lambda _: None, lambda: False)
    try:
        Run(job, folder, talk, team)()
    finally:
        team.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
