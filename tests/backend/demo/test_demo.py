"""The demo's parts, and the whole command as CI and the README run it."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from backend.demo.annotator import true_name
from backend.demo.dataset import CONTROL, SampleSet
from backend.demo.digits import DIGITS
from backend.demo.textiles import TEXTILES
from studio.config import parse_label_config
from tests.support.processes import OWN, processes_of


def demo(home: Path, **more: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
    kept.pop("BY_HAND", None)
    return subprocess.run(
        [sys.executable, "-m", "backend.cli", "demo"],
        env=kept | {"APPRENTICE_HOME": str(home)} | more,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )


SETS = pytest.mark.parametrize("samples", [DIGITS, TEXTILES], ids=lambda found: found.stem)


@SETS
def test_the_samples_are_balanced_shuffled_and_the_same_each_time(samples: SampleSet) -> None:
    drawn = samples.load(100)
    assert drawn == samples.load(100)
    counts = Counter(sample.label for sample in drawn)
    assert set(counts) == set(samples.classes)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len({sample.name for sample in drawn}) == len({s.content for s in drawn}) == 100
    assert len({sample.label for sample in drawn[:10]}) > 1
    with Image.open(BytesIO(drawn[0].content)) as image:
        assert min(image.size) >= 150
    names = [label for label in samples.classes if len(label) > 1]
    assert not any(label in sample.name for sample in drawn for label in names)


@SETS
def test_more_samples_than_there_are_is_refused(samples: SampleSet) -> None:
    with pytest.raises(ValueError, match="there are only"):
        samples.load(3000)


@SETS
def test_the_label_config_has_every_class(samples: SampleSet) -> None:
    (control,) = parse_label_config(samples.label_config).controls
    assert control.name == CONTROL
    assert all(control.has_class((name,)) for name in samples.classes)


def test_an_uploaded_file_is_recognised() -> None:
    assert true_name("/data/upload/7/0123abcd-textile-0042.jpg") == "textile-0042.jpg"


def test_a_missing_label_studio_is_named(tmp_path: Path) -> None:
    refused = demo(tmp_path / "home", APPRENTICE_LABEL_STUDIO=str(tmp_path / "nowhere"))
    assert refused.returncode == 1
    assert "label-studio is missing" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert processes_of(tmp_path / "home" / "apprentice") == []


def test_a_senseless_number_of_labels_is_refused(tmp_path: Path) -> None:
    refused = demo(tmp_path / "home", APPRENTICE_DEMO_LABELS="plenty")
    assert refused.returncode == 1
    assert "APPRENTICE_DEMO_LABELS" in refused.stderr


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_the_demo_learns_says_so_and_leaves_nothing(
    environment: Path, empty_label_studio: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(empty_label_studio, home / "label-studio")
    done = demo(home, APPRENTICE_LABEL_STUDIO=str(environment), APPRENTICE_DEMO_LABELS="12")
    assert done.returncode == 0, done.stderr
    assert "Label Studio: http://localhost:" in done.stdout
    assert "sign in as " in done.stdout
    assert "After 12 labels" in done.stdout
    assert "(simulated on the same images)" in done.stdout
    assert processes_of(home / "apprentice") == []
