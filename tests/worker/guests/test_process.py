"""Guests in real processes: the interfaces of both versions, crashes, hangs, wrong answers."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.guests import MIXED, OLDER, RECTANGLES, TEXT, spec
from worker.guests.process import GuestError, GuestLostError, GuestProcess, last_line

TASKS = [{"id": n, "data": {"image": f"http://images/{n}.jpg"}} for n in (1, 2)]


@contextmanager
def process(tmp_path: Path, source: str, mood: str = "") -> Iterator[GuestProcess]:
    folder = tmp_path / "guest"
    folder.mkdir(exist_ok=True)
    (folder / "mood").write_text(mood)
    opened = GuestProcess(spec(source, python=sys.executable), folder, tmp_path / "guest.log")
    try:
        opened.start(60)
        yield opened
    finally:
        opened.kill()


def load(guest: GuestProcess, label_config: str, **more: object) -> str:
    answer = guest.request(
        "load", 60, project="1", project_id="5", label_config=label_config, **more
    )
    return answer["version"]


@pytest.fixture
def rectangles(tmp_path: Path) -> Iterator[GuestProcess]:
    with process(tmp_path, RECTANGLES) as opened:
        load(opened, MIXED)
        yield opened


def test_a_model_of_2x_answers(rectangles: GuestProcess) -> None:
    assert rectangles.description["style"] == "2.x"
    assert rectangles.description["fits"]
    answer = rectangles.request("predict", 60, project="1", tasks=TASKS)["answer"]
    assert answer["model_version"] == "rect-1"
    assert [entry["result"][0]["from_name"] for entry in answer["predictions"]] == ["box", "box"]
    assert rectangles.last_line() == "predicting 2 tasks"


def test_a_model_of_2x_is_given_an_annotators_regions(rectangles: GuestProcess) -> None:
    context = {"result": [{"type": "keypointlabels", "value": {"x": 77}}]}
    answer = rectangles.request("predict", 60, project="1", tasks=TASKS[:1], context=context)
    assert answer["answer"]["predictions"][0]["result"][0]["value"]["x"] == 77


def test_a_model_of_2x_remembers_what_it_set(tmp_path: Path, rectangles: GuestProcess) -> None:
    fitted = rectangles.request(
        "fit",
        60,
        project="1",
        event="ANNOTATION_CREATED",
        data={"project": {"id": 5}},
        tasks=[],
        job_id="7",
        workdir=str(tmp_path),
    )
    assert fitted == {"version": "rect-2", "train_output": None}
    with process(tmp_path, RECTANGLES) as again:
        assert load(again, MIXED) == "rect-2"


def test_a_model_of_109_gets_its_train_output_back(tmp_path: Path) -> None:
    labelled = {
        "annotations": [{"result": [{"from_name": "tone", "value": {"choices": ["bad"]}}]}],
        "data": {"text": "t"},
        "id": 1,
    }
    with process(tmp_path, OLDER) as guest:
        assert guest.description["style"] == "1.0.9"
        assert load(guest, TEXT) == "INITIAL"
        answer = guest.request("predict", 60, project="1", tasks=TASKS)["answer"]
        assert [entry["result"][0]["value"]["choices"] for entry in answer] == [["good"]] * 2
        fitted = guest.request(
            "fit",
            60,
            project="1",
            event="ANNOTATION_CREATED",
            data={},
            tasks=[labelled],
            job_id="1700000000",
            workdir=str(tmp_path),
        )
        assert fitted["train_output"] == {"best": "bad", "workdir": str(tmp_path)}
        output = {**fitted["train_output"], "job_id": fitted["version"]}
        assert load(guest, TEXT, train_output=output) == "1700000000"
        answer = guest.request("predict", 60, project="1", tasks=TASKS[:1])["answer"]
        assert answer[0]["result"][0]["value"]["choices"] == ["bad"]


def test_an_exception_is_told_and_the_guest_goes_on(tmp_path: Path) -> None:
    with process(tmp_path, RECTANGLES, "raise") as guest:
        load(guest, MIXED)
        with pytest.raises(GuestError, match="ValueError: out of paper"):
            guest.request("predict", 60, project="1", tasks=TASKS)
        (tmp_path / "guest" / "mood").write_text("")
        assert guest.request("predict", 60, project="1", tasks=TASKS)


def test_a_huge_answer_is_told_and_the_guest_goes_on(tmp_path: Path) -> None:
    with process(tmp_path, RECTANGLES, "huge") as guest:
        load(guest, MIXED)
        with pytest.raises(GuestError, match="at most 64,000,000"):
            guest.request("predict", 60, project="1", tasks=TASKS[:1])
        assert guest.is_alive()


def test_a_crash_is_told_with_the_last_line(tmp_path: Path) -> None:
    with process(tmp_path, RECTANGLES, "crash") as guest:
        load(guest, MIXED)
        with pytest.raises(GuestLostError, match=r"ended with code 7: predicting 2 tasks"):
            guest.request("predict", 60, project="1", tasks=TASKS)


def test_a_guest_that_hangs_is_killed_at_the_deadline(tmp_path: Path) -> None:
    with process(tmp_path, RECTANGLES, "hang") as guest:
        load(guest, MIXED)
        children = psutil.Process().children(recursive=True)
        with pytest.raises(GuestLostError, match="no answer in time"):
            guest.request("predict", 0.5, project="1", tasks=TASKS)
        assert not guest.is_alive()
        assert not [child for child in children if child.is_running() and _is_host(child)]


def _is_host(child: psutil.Process) -> bool:
    try:
        return "host.py" in " ".join(child.cmdline())
    except psutil.NoSuchProcess:  # it has ended, and perhaps waits to be reaped
        return False


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{}/broken.py:Model", "SyntaxError"),
        ("{}/empty.py:Model", "has no class Model"),
        ("{}/plain.py:Model", "no subclass of LabelStudioMLBase"),
        ("{}/needy.py:Model", "No module named 'no_such_package'"),
    ],
)
def test_a_file_that_is_no_guest_is_explained(tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "broken.py").write_text("class Model(:")
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "plain.py").write_text("class Model: pass")
    (tmp_path / "needy.py").write_text("import no_such_package")
    with (
        pytest.raises(GuestError, match=message),
        process(tmp_path, source.format(tmp_path)),
    ):
        pass


def test_our_own_secrets_stay_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPRENTICE_DATABASE_URL", "postgresql://secret")
    (tmp_path / "nosy.py").write_text(
        "import os\n"
        "from label_studio_ml.model import LabelStudioMLBase\n"
        "class Nosy(LabelStudioMLBase):\n"
        "    def predict(self, tasks, context=None, **kwargs):\n"
        "        return sorted(n for n in os.environ if n.startswith('APPRENTICE_'))\n"
    )
    with process(tmp_path, f"{tmp_path / 'nosy.py'}:Nosy") as guest:
        load(guest, MIXED)
        assert guest.request("predict", 60, project="1", tasks=TASKS)["answer"] == []


def test_of_a_progress_bar_the_last_state_counts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("begun\nepoch 1/3\repoch 2/3\r")
    assert last_line(log) == "epoch 2/3"
    assert last_line(tmp_path / "none") == ""
