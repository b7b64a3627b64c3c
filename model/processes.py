"""Runs a Python module in a subprocess that ends with this process.

Subprocesses import torch where this process must not.
"""

import os
import subprocess
import sys
import threading


def run_module(module: str, *arguments: str, seconds: float) -> subprocess.CompletedProcess[str]:
    """Run `python -m MODULE ARGUMENTS`, wait for it, and capture its output as text.

    The module must call `exit_with_parent`. Raises subprocess.TimeoutExpired after `seconds`; the
    process is killed then.
    """
    # Only this process has the writing end, so that the child reads the end of file when it ends.
    reading_end, writing_end = os.pipe()
    try:
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            stdin=reading_end,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    finally:
        os.close(reading_end)
        os.close(writing_end)


def exit_with_parent() -> None:
    """Exit at once when the process with the writing end of this one's standard input ends."""
    threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(1)
