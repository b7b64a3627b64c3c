"""Status: what it costs to look."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, event

from backend.views.status import project_status, system_status
from services.learning.start_version import start_version
from store.predictions.shortlists import Choice, set_shortlist
from tests.support.workbench import Workbench


@contextmanager
def statements() -> Iterator[list[tuple[str, tuple[object, ...]]]]:
    """All that is sent to databases meanwhile: (SQL, parameters)."""
    sent: list[tuple[str, tuple[object, ...]]] = []

    def note(_connection, _cursor, statement, parameters, _context, _many) -> None:
        sent.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def reads_of_annotations(bench: Workbench, sent: list[tuple[str, tuple[object, ...]]]) -> list[str]:
    """How SQLite goes through the table of annotations in these statements."""
    steps = []
    file = bench.store.settings.home / "apprentice.db"
    with sqlite3.connect(file) as connection:
        for statement, parameters in sent:
            if "annotation" in statement:
                plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
                steps += [row[3] for row in plan if "annotation" in row[3]]
    connection.close()
    return steps


def test_no_annotation_is_parsed_to_show_a_project(workbench: Workbench) -> None:
    workbench.annotate(workbench.tasks_of("cat", 30) | workbench.tasks_of("dog", 30))
    workbench.run("learn")

    def choose(db) -> None:
        version = start_version(db, workbench.project_id, "space")
        choices = [Choice(task, "margin", None) for task in (1, 2, *workbench.tasks_of("fox", 3))]
        set_shortlist(db, workbench.project_id, version.id, choices)

    workbench.store.database.write(choose)
    with statements() as sent:
        status = system_status(workbench.store).projects[0]
        project_status(workbench.store, workbench.project)
    assert (status.labels, status.shortlist) == (60, 3)
    assert len(sent) > 10
    assert not any("annotation.result" in statement for statement, _ in sent)
    # Of the tasks of the shortlist, each is looked up.
    assert set(reads_of_annotations(workbench, sent)) == {
        "SEARCH annotation USING INDEX ix_annotation_project_id_task_ls_id "
        "(project_id=? AND task_ls_id=?)"
    }


def test_a_label_counts_at_once(workbench: Workbench) -> None:
    workbench.annotate({1: "cat", 2: "dog"})
    workbench.run("learn")
    workbench.annotate({3: "fox"})
    with statements() as sent:
        assert project_status(workbench.store, workbench.project).labels == 3
    assert any("annotation.result" in statement for statement, _ in sent)
