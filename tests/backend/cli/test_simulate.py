"""apprentice simulate: from a file of features to curves and a picture, or to a plain refusal."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from backend.cli.errors import CommandError
from backend.cli.main import app
from backend.views.charts import Curve, area, mean_curve, picture
from model.active_learning.simulation import Round


def features(path: Path, count: int = 60, **more: object) -> Path:
    rng = np.random.default_rng(0)
    labels = np.array(["cat", "dog", "fox"])[rng.integers(3, size=count)]
    centres = {name: rng.normal(size=12) for name in ("cat", "dog", "fox")}
    x = np.array([centres[name] + rng.normal(size=12) for name in labels], np.float16)
    np.savez(path, **({"features": x, "labels": labels} | more))
    return path


def simulate(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["simulate", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_file_is_replayed_into_curves_and_a_picture(tmp_path: Path) -> None:
    file, out = features(tmp_path / "f.npz"), tmp_path / "found" / "curves.json"
    out.parent.mkdir()
    options = ["--batch", "5", "--rounds", "4", "--seeds", "2", "--out", str(out)]
    shown = simulate("--features", str(file), "--strategies", "auto,random,kmeans+margin", *options)
    found = json.loads(out.read_text())

    assert (found["pool"], found["test"], found["classes"]) == (45, 15, 3)
    runs = {(curve["strategy"], curve["seed"]) for curve in found["curves"]}
    assert runs == {(s, n) for s in ("auto", "random", "kmeans+margin") for n in (0, 1)}
    labels = [[done["labels"] for done in curve["rounds"]] for curve in found["curves"]]
    assert labels == [[5, 10, 15, 20]] * 6
    drawing = ET.fromstring(out.with_suffix(".svg").read_text())
    written = "".join(drawing.itertext())
    for name in ("auto", "random", "kmeans+margin"):
        assert name in shown
        assert name in written


def test_a_test_set_of_its_own_is_tested_on(tmp_path: Path) -> None:
    x, labels = np.eye(10, dtype=np.float32), np.arange(10) % 2
    test = {"test_features": x[:4] + 0.01, "test_labels": labels[:4]}
    file = features(tmp_path / "f.npz", features=x, labels=labels, **test)
    out = tmp_path / "c.json"
    options = ["--batch", "10", "--rounds", "3", "--seeds", "1", "--out", str(out)]
    simulate("--features", str(file), "--strategies", "random", *options)
    (curve,) = json.loads(out.read_text())["curves"]

    assert json.loads(out.read_text())["test"] == 4
    assert [(done["labels"], done["accuracy"]) for done in curve["rounds"]] == [(10, 1.0)]


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"labels": np.zeros(3)}, r"features must be numbers \[N, D\] and labels \[N\]"),
        ({"features": np.full((60, 4), np.nan)}, "0 usable rows, too few"),
        ({"features": np.full((60, 4), 1e300)}, "0 usable rows, too few"),
        ({"test_features": np.ones((5, 12))}, "has no array test_labels"),
        (
            {"test_features": np.ones((5, 3)), "test_labels": np.array(["cat"] * 5)},
            "differ in length",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, arrays: dict[str, object], complaint: str
) -> None:
    file = features(tmp_path / "f.npz", **arrays)
    with pytest.raises(CommandError, match=complaint):
        simulate("--features", str(file))


def test_what_can_not_be_replayed_is_refused(tmp_path: Path) -> None:
    file = features(tmp_path / "f.npz")
    text, empty, cut = (tmp_path / name for name in ("t.npz", "empty.npz", "cut.npz"))
    text.write_text("no arrays")
    empty.touch()
    cut.write_bytes(file.read_bytes()[:-40])
    np.save(alone := tmp_path / "alone.npy", np.eye(9))
    for arguments, complaint in (
        (["--features", str(file), "--strategies", "autoo"], "did you mean auto"),
        (["--features", str(file), "--strategies", " , "], "give --strategies"),
        (["--features", str(file), "--strategies", "+random"], "selection strategy is called ''"),
        (["--features", str(text)], "can't be read"),
        (["--features", str(empty)], "can't be read"),
        (["--features", str(cut)], "can't be read"),
        (["--features", str(alone)], "no .npz file"),
        (["--features", str(tmp_path / "none.npz")], "can't be read"),
        ([], "give --features FILE or --project ID"),
        (["--features", str(file), "--out", str(tmp_path / "c.svg")], "names the JSON file"),
        (["--features", str(file), "--out", str(tmp_path / "no" / "c.json")], "can't be written"),
        (["--features", str(file), "--out", str(tmp_path)], "can't be written"),
    ):
        with pytest.raises(CommandError, match=complaint):
            simulate(*arguments)


def test_a_mean_curve_has_its_interval_and_an_area() -> None:
    runs = [[Round(10, 0.5, 0.0), Round(20, 0.7, 0.0), Round(40, 0.9, 0.0)]]
    runs.append([Round(10, 0.6, 0.0), Round(20, 0.8, 0.0)])
    curves = [Curve("auto", seed, rounds) for seed, rounds in enumerate(runs)]
    first, second = mean_curve(curves)

    assert (first.labels, first.mean) == (10, pytest.approx(0.55))
    assert second.high - second.mean == pytest.approx(12.71 * 0.05, rel=1e-3)  # t with one degree
    assert area(runs[0]) == pytest.approx((0.6 * 10 + 0.8 * 20) / 30)
    assert area(runs[0][:1]) == 0.5


def test_a_picture_of_a_perfect_curve_is_well_formed() -> None:
    curves = [Curve("<b>", 0, [Round(1, 1.0, 0.0)]), Curve("zero", 0, [Round(1, 0.0, 0.0)])]

    assert "<b>" in "".join(ET.fromstring(picture(curves, "a & b")).itertext())
