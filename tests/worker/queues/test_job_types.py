import json
import subprocess
import sys
from pathlib import Path

import pytest
from rq import Callback, Queue
from rq.serializers import DefaultSerializer, JSONSerializer, Serializer

from store.work.jobs import job_id
from tests.support.workshop import Workshop
from worker.queues.enqueue import enqueue, open_queue
from worker.queues.job_state import JobState, job_state
from worker.queues.job_types import JobKind, JobRefusedError, get_kind, register_kind


def plant(folder: Path) -> Path:
    """A module in the worker's path that leaves a mark when it is imported or called."""
    mark = folder / "mark"
    module = Path(__file__).parent / "planted_by_a_stranger.py"
    module.write_text(
        f"from pathlib import Path\nPath({str(mark)!r}).touch()\ndef run(*args): pass\n"
    )
    return module


@pytest.mark.parametrize("serializer", [JSONSerializer, DefaultSerializer])
def test_a_foreign_function_is_neither_called_nor_imported(
    workshop: Workshop, serializer: Serializer
) -> None:
    module = plant(workshop.folder)
    try:
        queue = Queue("learn", connection=workshop.connection, serializer=serializer)
        name = f"{module.stem}.run"
        callback = Callback(name)
        job = queue.enqueue_call(
            name, args=(1, 2), job_id="note-1-g1", on_failure=callback, on_success=callback
        )
        workshop.work_off()
    finally:
        module.unlink()
    assert job.get_status() == "failed"
    assert not (workshop.folder / "mark").exists()


def test_callbacks_of_an_allowed_job_are_not_called(workshop: Workshop) -> None:
    module = plant(workshop.folder)
    try:
        queue = Queue("learn", connection=workshop.connection, serializer=JSONSerializer)
        callback = Callback(f"{module.stem}.run")
        queue.enqueue_call("note", args=(1, 2), job_id="note-1-g2", on_success=callback)
        workshop.work_off()
    finally:
        module.unlink()
    assert job_state(workshop.connection, "note-1-g2") is JobState.FINISHED
    assert not (workshop.folder / "mark").exists()


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


def test_nothing_is_unpickled(workshop: Workshop) -> None:
    mark = workshop.folder / "mark"
    queue = Queue("learn", connection=workshop.connection, serializer=DefaultSerializer)
    queue.enqueue_call("note", args=(Bomb(mark),), meta={"bomb": Bomb(mark)}, job_id="note-1-g3")
    workshop.work_off()
    assert job_state(workshop.connection, "note-1-g3") is JobState.FAILED
    assert not mark.exists()


def test_other_arguments_are_refused(workshop: Workshop) -> None:
    queue = open_queue(workshop.connection, "learn")
    for number, args in enumerate([(1,), (1, "2"), (1, True)]):
        queue.enqueue_call("note", args=args, job_id=f"note-4-g{number}")
    queue.enqueue_call("note", args=(1, 2), kwargs={"more": 3}, job_id="note-4-g3")
    workshop.work_off()
    states = {job_state(workshop.connection, job_id("note", 4, number)) for number in range(4)}
    assert states == {JobState.FAILED}
    assert not [note for note in workshop.notes() if note.startswith("note")]
    assert workshop.log().count("JobRefusedError: a job takes") == 4


def test_an_unreadable_job_stops_nobody(workshop: Workshop) -> None:
    queue = open_queue(workshop.connection, "learn")
    workshop.connection.hset("rq:job:note-1-g5", mapping={"status": "nonsense", "data": "{"})
    workshop.connection.rpush(queue.key, "note-1-g5", "never-heard-of-g1")
    job = enqueue(workshop.connection, "note", 1, 6)
    workshop.work_off()
    assert job_state(workshop.connection, job) is JobState.FINISHED
    assert job_state(workshop.connection, "note-1-g5") is None


def test_one_generation_is_enqueued_once(workshop: Workshop) -> None:
    jobs = {enqueue(workshop.connection, "note", 7, generation) for generation in (1, 1, 2, 1)}
    assert jobs == {"note-7-g1", "note-7-g2"}
    assert open_queue(workshop.connection, "learn").count == 2
    workshop.work_off()
    enqueue(workshop.connection, "note", 7, 2)
    assert open_queue(workshop.connection, "learn").count == 0


def test_what_redis_holds_of_a_job_is_plain_json(workshop: Workshop) -> None:
    job = open_queue(workshop.connection, "learn").fetch_job(
        enqueue(workshop.connection, "note", 7, 1)
    )
    assert job is not None
    assert json.loads(job.data) == ["note", None, [7, 1], {}]


def test_an_unknown_kind_is_refused(workshop: Workshop) -> None:
    with pytest.raises(JobRefusedError, match=r"os\.system"):
        enqueue(workshop.connection, "os.system", 1, 1)
    with pytest.raises(JobRefusedError):
        job_state(workshop.connection, job_id("os.system", 1, 1))


def test_a_kind_means_one_thing() -> None:
    kind = get_kind("learn")
    assert register_kind(kind) is kind
    with pytest.raises(ValueError, match="already"):
        register_kind(JobKind("learn", "os:system", "learn", 1))
    with pytest.raises(ValueError, match="module:function"):
        register_kind(JobKind("other", "os.system", "learn", 1))


def test_the_table_of_jobs_imports_none_of_them() -> None:
    script = (
        "import sys, worker.queues.enqueue\n"
        "print([n for n in sys.modules if n.startswith(('torch', 'openvino', 'sklearn', 'numpy',"
        " 'worker.jobs'))])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert found.stdout.strip() == b"[]"
