"""The fast part of the attack suite (`python -m benchmarks hostile`): addresses, names, bombs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.hostile.addresses import try_addresses, try_names
from benchmarks.hostile.bombs import bombs
from benchmarks.hostile.servers import HostileStudio
from benchmarks.hostile.uris import forbidden_uris

ROOT = Path(__file__).parents[3]
SLOW_TO_MAKE = re.compile(r"1 GB|64 MB|7000|bits|numbers|RGBA|thin|words|million|100,000|40 MB")
MEASURE = """
import re, sys, warnings
from pathlib import Path
from benchmarks.hostile.bombs import bombs
from studio.images.loader import ImageError, ImagePolicy, decode
warnings.simplefilter("ignore")
policy = ImagePolicy(max_pixels=50_000_000)
skip = re.compile(sys.argv[1])
chosen = [bomb for bomb in bombs() if bomb.small and not skip.search(bomb.name)]
files = {bomb.name: bomb.make() for bomb in chosen}
def highest():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
Path("/proc/self/clear_refs").write_text("5")
before = highest()
for name, data in files.items():
    try:
        assert decode(data, policy).mode == "RGB"
    except ImageError as error:
        assert error.reason, name
print(len(files), round(highest() - before))
"""
TOGETHER = """
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
from studio.images import decoding
from studio.images.loader import ImagePolicy, decode
from studio.images.memory import MIB, MemoryBudget
from tests.support.image_files import tiff
samples = np.zeros((1000, 2500, 1), np.float32)
samples[::7] = 3
data = tiff(samples, compressed=True)
decoding.BUDGET = MemoryBudget(40 * MIB)
def highest():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
def shrunk(_):
    return decode(data, ImagePolicy()).resize((9, 9)).mode
shrunk(0)
Path("/proc/self/clear_refs").write_text("5")
before = highest()
with ThreadPoolExecutor(8) as pool:
    assert set(pool.map(shrunk, range(8))) == {"RGB"}
print(8, round(highest() - before))
"""


def measured(script: str, *arguments: str) -> tuple[int, int]:
    """What the script prints: how many, and MiB of memory more than before."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    count, growth = map(int, done.stdout.split())
    return count, growth


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux measures the peak")
def test_small_bombs_take_little_memory() -> None:
    count, growth = measured(MEASURE, SLOW_TO_MAKE.pattern)
    assert count >= 25
    assert growth < 250


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux measures the peak")
def test_deep_pictures_at_once_share_the_budget() -> None:
    _, growth = measured(TOGETHER)
    assert growth < 150  # all at once take twice that


def test_the_suite_has_sixty_bombs_in_all_formats() -> None:
    names = [bomb.name for bomb in bombs()]
    assert len(set(names)) == len(names) >= 60
    kinds = [
        "png",
        "jpeg",
        "mpo",
        "gif",
        "webp",
        "tiff",
        "ico",
        "bmp",
        "tga",
        "ppm",
        "avif",
        "heif",
        "jxl",
    ]
    for kind in [*kinds, "jpeg 2000"]:
        assert any(name.startswith(kind) for name in names), kind


def test_no_address_leads_to_where_only_the_server_gets() -> None:
    studio, inner = HostileStudio(), HostileStudio()
    with studio.running(), inner.running():
        uris = list(forbidden_uris(inner.port))
        assert len(uris) >= 150
        _, forbidden = try_addresses(studio, uris)
        assert forbidden == 0
    assert not inner.asked
    assert not studio.leaks


def test_names_that_change_their_answer_lead_to_checked_addresses_only() -> None:
    assert try_names(30) == (30, 0)
