"""Python processes of our own for work that must not happen in this one: loading torch, mostly.

Run as `python -m MODULE ARGUMENTS`; they end when the process that started them does.
"""

import os
import subprocess
import sys
import threading


def run_module(module: str, *arguments: str, seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a module that calls `exit_with_the_parent` and wait for it; output is text.

    Raises subprocess.TimeoutExpired after `seconds`; the process is gone then.
    """
    # Only this process holds the writing end: the child sees the end of file when it is gone.
    watched, held = os.pipe()
    try:
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            stdin=watched,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    finally:
        os.close(watched)
        os.close(held)


def exit_with_the_parent() -> None:
    """End at once when the process that holds the writing end of this one's input is gone."""
    threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    sys.stdin.read()
    os._exit(1)
