"""Downloads of weights, from a server that speaks the hub's protocol, and how they fail."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
from safetensors.torch import save

from model.backbones.downloads import download_file, download_from_hub
from tests.support.hub import Hub, hub

REPOSITORY = "timm/test_vit.r160_in1k"
FILE = f"{REPOSITORY}/model.safetensors"
WEIGHTS = bytes(range(256)) * 40_000  # 10 MB


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one file, which the library in this process asks."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    with hub({FILE: WEIGHTS}) as server:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
        monkeypatch.setattr(_http.time, "sleep", lambda seconds: None)
        yield server


def download() -> bytes:
    return download_from_hub(REPOSITORY, ("model.safetensors", "pytorch_model.bin")).read_bytes()


def test_a_broken_connection_is_taken_up_again(served: Hub) -> None:
    served.breaks_after = len(WEIGHTS) // 3
    assert download() == WEIGHTS


def test_a_file_that_a_mirror_changed_is_refused_and_asked_for_again(served: Hub) -> None:
    served.announced_digest = "a" * 64
    for _ in range(2):
        with pytest.raises(OSError, match=r"SHA-256 .* where aaaaaaaaaaaa… was announced"):
            download()
    served.announced_digest = None
    assert download() == WEIGHTS


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (403, "GatedRepo", "is gated: accept its terms .* HF_TOKEN"),
        (401, "RepoNotFound", "is not there, or private: .* HF_TOKEN"),
        (404, "RepoNotFound", "is not there, or private"),
        (404, "EntryNotFound", "has none of model.safetensors, pytorch_model.bin"),
        (429, "", "429 Too Many Requests: try again later"),
        (500, "", "answered 500"),
    ],
)
def test_a_refusal_says_what_to_do(served: Hub, status: int, code: str, message: str) -> None:
    served.status, served.error_code = status, code
    with pytest.raises(OSError, match=message):
        download()


@pytest.mark.slow
def test_a_backbone_comes_from_a_mirror(tmp_path: Path) -> None:
    """As a user names one: `HF_ENDPOINT`."""
    code = (
        "from model.backbones.families.timm_models import Timm;"
        "print(Timm().inspect('test_vit').spec.dim)"
    )
    with hub({FILE: save(timm.create_model("test_vit").state_dict())}) as mirror:
        caches = {"TORCH_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=os.environ | caches | {"HF_ENDPOINT": mirror.url},
            check=True,
        )
    assert done.stdout.strip() == "64"
    assert ("GET", f"/{REPOSITORY}/resolve/main/model.safetensors", None) in mirror.asked


def url(served: Hub, name: str) -> str:
    served.files[f"some/where/{name}"] = WEIGHTS
    return f"{served.url}/some/where/resolve/main/{name}"


def test_what_came_before_a_process_was_killed_is_not_asked_for_again(
    served: Hub, tmp_path: Path
) -> None:
    name = f"resnet-{hashlib.sha256(WEIGHTS).hexdigest()[:8]}.pth"
    (tmp_path / f"{name}.partial").write_bytes(WEIGHTS[:1000])
    served.breaks_after = 5000
    assert download_file(url(served, name), tmp_path).read_bytes() == WEIGHTS
    first, second = [asked_range for _, _, asked_range in served.asked]
    assert first == "bytes=1000-"
    assert second is not None
    assert second > first
    assert not (tmp_path / f"{name}.partial").exists()


def test_a_file_with_another_hash_than_its_name_says_is_refused(
    served: Hub, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match="where 11ad3fa6… was announced"):
        download_file(url(served, "resnet50-11ad3fa6.pth"), tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".lock"}


def test_a_url_that_has_nothing_is_told(served: Hub, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="answered 404"):
        download_file(f"{served.url}/no/where/resolve/main/weights.pth", tmp_path)
