"""Shortlists: what is kept of those that were replaced."""

import random
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from services.learning.start_version import start_version
from store.database.schema import selection
from store.predictions.deletions import delete_tasks
from store.predictions.shortlists import (
    KEPT_SECONDS,
    RANDOM,
    Choice,
    Draw,
    drawn_tasks,
    first_choice_at,
    get_shortlist,
    set_shortlist,
)
from store.projects.projects import Project
from store.store import Store


@pytest.fixture
def a_day_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each list is made more than a day after the one before."""
    clock = count(1_000_000.0, KEPT_SECONDS + 1)
    monkeypatch.setattr("store.predictions.shortlists.time.time", lambda: next(clock))


def count_rows(store: Store) -> int:
    with store.database.read() as db:
        return db.execute(select(func.count()).select_from(selection)).scalar_one()


@pytest.mark.usefixtures("a_day_later")
def test_pruning_changes_no_draw(store: Store, project: Project) -> None:
    """Compares each state with one computed from all rows that were ever written."""
    rng = random.Random(0)
    version = store.database.write(lambda db: start_version(db, project.id, "space"))
    history: list[tuple[int, str, float | None, float]] = []  # task, strategy, probability, time
    for _ in range(60):
        choices = [
            Choice(task, RANDOM, rng.choice([None, 0.5, 0.1, 0.2]))
            if rng.random() < 0.3
            else Choice(task, "margin", None)
            for task in rng.sample(range(1, 31), 10)
        ]
        store.database.write(lambda db, c=choices: set_shortlist(db, project.id, version.id, c))
        query = select(selection.c.created_at).where(selection.c.active)
        with store.database.read() as db:
            at = set(db.execute(query).scalars())
            assert get_shortlist(db, project.id) == [choice.task for choice in choices]
        assert len(at) == 1
        history += [(c.task, c.strategy, c.probability, *at) for c in choices]
        if rng.random() < 0.1:
            gone = rng.randint(1, 30)
            store.database.write(lambda db, gone=gone: delete_tasks(db, project.id, [gone]))
            history = [row for row in history if row[0] != gone]
        expected = {}
        for task, strategy, _, _ in history:
            expected.pop(task, None)
            if strategy == RANDOM:
                draws = [row for row in history if row[:2] == (task, RANDOM)]
                known = [row[2] for row in draws if row[2] is not None]
                expected[task] = Draw(min(row[3] for row in draws), min(known, default=None))
        with store.database.read() as db:
            assert drawn_tasks(db, project.id) == expected
    assert history
    assert count_rows(store) <= 1 + 3 * 30 + 10


@pytest.mark.usefixtures("a_day_later")
def test_superseded_choices_are_deleted(store: Store, project: Project) -> None:
    def write(db) -> float | None:
        version = start_version(db, project.id, "space")
        set_shortlist(db, project.id, version.id, [Choice(1, RANDOM, 0.5)])
        first = first_choice_at(db, project.id)
        for _ in range(50):
            listed = [Choice(1, RANDOM, 0.5), *(Choice(t, "margin", None) for t in range(2, 12))]
            set_shortlist(db, project.id, version.id, listed)
        return first

    first = store.database.write(write)
    assert count_rows(store) == 11 + 2  # the list; the first and last draw of its first task
    with store.database.read() as db:
        assert first_choice_at(db, project.id) == first
        assert get_shortlist(db, project.id) == list(range(1, 12))


def test_a_list_superseded_today_is_kept(store: Store, project: Project) -> None:
    """Label Studio hands tasks out by it until the next version is published."""

    def write(db) -> None:
        version = start_version(db, project.id, "space")
        set_shortlist(db, project.id, version.id, [Choice(1, "margin", None)])
        set_shortlist(db, project.id, version.id, [Choice(2, "margin", None)])

    store.database.write(write)
    assert count_rows(store) == 2


@pytest.mark.usefixtures("a_day_later")
def test_the_time_of_the_first_choice_stays(store: Store, project: Project) -> None:
    """Labels that came before it are unbiased, even if none of the first list was drawn."""

    def write(db) -> tuple[float | None, float | None]:
        version = start_version(db, project.id, "space")
        set_shortlist(db, project.id, version.id, [Choice(1, "kmeans", None)])
        first = first_choice_at(db, project.id)
        for task in range(2, 9):
            set_shortlist(db, project.id, version.id, [Choice(task, "margin", None)])
        return first, first_choice_at(db, project.id)

    first, last = store.database.write(write)
    assert first is not None
    assert last == first
    assert count_rows(store) == 2


def test_a_new_list_reads_no_draws_of_old_ones(
    store: Store, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that a project ever drew is kept: what is read and written must not grow with it."""
    version = store.database.write(lambda db: start_version(db, project.id, "space"))
    now = 1_000_000.0
    monkeypatch.setattr("store.predictions.shortlists.time.time", lambda: now)
    for first in range(0, 1000, 100):
        draws = [Choice(task, RANDOM, 0.5) for task in range(first + 1, first + 101)]
        store.database.write(
            lambda db, draws=draws: set_shortlist(db, project.id, version.id, draws)
        )
        now += KEPT_SECONDS + 1

    read: list[int] = []

    def add_list(db: Connection) -> None:
        execute = db.execute

        def counted(*arguments: Any) -> Any:
            result = execute(*arguments)
            if not result.returns_rows:
                return result
            frozen = result.freeze()
            read.append(len(frozen.data))
            return frozen()

        with monkeypatch.context() as patch:
            patch.setattr(db, "execute", counted)
            set_shortlist(db, project.id, version.id, [Choice(5000, "margin", None)])

    store.database.write(add_list)
    assert sum(read) <= 100 + 3
    assert count_rows(store) == 1000 + 1
