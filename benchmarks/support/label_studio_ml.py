"""Runs label-studio-ml's own server, in an environment of its own, beside Apprentice."""

import contextlib
import hashlib
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import httpx

from backend.demo.label_studio import HOST
from backend.demo.process import free_port, tail
from benchmarks.support.harness import wait
from benchmarks.support.report import OUT, ROOT

REQUIREMENTS = ROOT / "requirements" / "label-studio-ml.txt"
SERVER = "benchmarks.support.label_studio_ml_model"
STAMP = ".requirements"


def environment() -> Path:
    """The environment's Python, installed on the first call.

    It stands on the project's own environment, whose torch and timm it uses.
    """
    folder = OUT / "label-studio-ml"
    python = folder / "bin" / "python"
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    stamp = folder / STAMP
    if stamp.exists() and stamp.read_text() == digest:
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    pip = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", REQUIREMENTS], check=True)
    found = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    below = sysconfig.get_path("purelib")
    (Path(found.stdout.strip()) / "project.pth").write_text(
        f"import site; site.addsitedir({below!r})\n"
    )
    stamp.write_text(digest)
    return python


@contextlib.contextmanager
def label_studio_ml(head: Path, label_studio: str, token: str, folder: Path) -> Iterator[str]:
    """Run the server with `label_studio_ml_model.Baseline`; yield its URL.

    Args:
        head: an .npz file with `weight` [C, D], `bias` [C] and `classes` [C].
        label_studio: the URL that images are fetched from.
        token: an access token for it.
        folder: of downloaded images and the log.
    """
    port = free_port(0)
    log = folder / "label-studio-ml.log"
    variables = {
        "PYTHONPATH": str(ROOT),
        "BASELINE_HEAD": str(head),
        "BASELINE_FOLDER": str(folder),
        "LABEL_STUDIO_URL": label_studio,
        "LABEL_STUDIO_ACCESS_TOKEN": token,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [environment(), "-m", SERVER, str(port)],
            cwd=folder,
            env=os.environ | variables,
            stdout=output,
            stderr=output,
        )
    url = f"http://{HOST}:{port}"
    try:
        wait(lambda: _is_up(process, url, log), "label-studio-ml's server answers")
        yield url
    finally:
        process.terminate()
        process.wait()


def _is_up(process: "subprocess.Popen[bytes]", url: str, log: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"label-studio-ml's server has ended: {tail(log)}")
    try:
        return httpx.get(f"{url}/health").is_success
    except httpx.TransportError:
        return False
