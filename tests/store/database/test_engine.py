"""The database: acknowledged writes survive, one bad write harms no other."""

import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, event, func, inspect, select, text

from store.database.engine import MIGRATIONS
from store.database.schema import metadata, project, runtime
from store.projects.key_values import Key
from store.settings import Settings
from store.store import Store
from store.tasks.tasks import Task, list_tasks
from store.versions.advice import StoredAdvice, newest_advice, version_advice


def test_migrations_give_the_schema(store: Store) -> None:
    engine = create_engine(store.settings.database)
    with engine.connect() as connection:
        ours = {"include_object": lambda _object, name, *_rest: name != "embedding"}
        differences = compare_metadata(MigrationContext.configure(connection, opts=ours), metadata)
    engine.dispose()
    assert differences == []


def test_migrating_twice_keeps_what_is_there(store: Store) -> None:
    store.database.write(lambda db: Key("a").set(db, 1))
    store.database.migrate()
    with store.database.read() as db:
        assert Key("a").get(db) == 1


def migrate(settings: Settings, go: Callable[[Config, str], None], revision: str) -> None:
    """Go up or down to a revision."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = create_engine(settings.database)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        go(config, revision)
        connection.commit()
    engine.dispose()


OLD = """
INSERT INTO connection (id, url, token, secret, created_at) VALUES ('default', 'u', 't', 's', 1);
INSERT INTO project (id, connection_id, ls_id, ls_created, title, label_config, tasks_cursor,
    served_fence) VALUES (1, 'default', 5, 9, 'one', 'value="$image"', 3.0, 0),
    (2, 'default', 6, 9, 'list', '<Image name="i" valueList="$images"/>', 3.0, 0);
INSERT INTO task (id, project_id, ls_id, data, uri, image_key, embedded_space, retries, split,
    updated_at) VALUES (4, 1, 7, '{"image": "/a"}', '/a', 'k', 'space', 2, 'holdout', 1.0),
    (5, 2, 8, '{"images": ["/a"]}', NULL, NULL, NULL, 0, NULL, 1.0);
"""


def test_tasks_of_an_old_database_have_one_image_each(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    migrate(settings, command.upgrade, "0007")
    engine = create_engine(settings.database)
    with engine.begin() as connection:
        for statement in OLD.split(";\n"):
            connection.execute(text(statement))
    engine.dispose()
    for again in (False, True):
        store = Store.open(settings, migrate=True)
        with store.database.read() as db:
            (known,) = list_tasks(db, 1)
            cursors = dict(db.execute(select(project.c.id, project.c.tasks_cursor)).all())
            (index,) = [i for i in inspect(db).get_indexes("task") if i["column_names"][1:]]
        store.close()
        assert known == Task(7, "/a", "k", "space", None, "holdout", 2)
        assert known.item == 0
        assert cursors == {1: 3.0, 2: None}  # where tasks have lists of images, they are read again
        assert index["name"] == "ix_task_project_id_image_key"
        if not again:
            migrate(settings, command.downgrade, "0007")


OLD_ADVICE = """
INSERT INTO connection (id, url, token, secret, created_at) VALUES ('default', 'u', 't', 's', 1);
INSERT INTO project (id, connection_id, ls_id, ls_created, title, label_config, served_fence)
    VALUES (1, 'default', 5, 9, 'one', 'c', 0), (2, 'default', 6, 9, 'two', 'c', 0);
INSERT INTO version (id, project_id, number, kind, status, embedding_space, labels, labels_digest,
    metrics, verdict, created_at) VALUES (7, 1, 1, 'head', 'served', 's', 4, 'd', '{}', 'v', 1),
    (8, 1, 2, 'head', 'candidate', 's', 5, 'e', '{}', 'v', 2);
INSERT INTO advice (project_id, at, found) VALUES (1, 3.0, '{"labels": 5}'), (2, 3.0, '{}');
"""


def test_advice_of_an_old_database_is_the_newest_versions(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    migrate(settings, command.upgrade, "0009")
    engine = create_engine(settings.database)
    with engine.begin() as connection:
        for statement in OLD_ADVICE.split(";\n"):
            connection.execute(text(statement))
    engine.dispose()
    for again in (False, True):
        store = Store.open(settings, migrate=True)
        with store.database.read() as db:
            assert version_advice(db, 7) is None
            assert version_advice(db, 8) == StoredAdvice(3.0, {"labels": 5})
            assert newest_advice(db, 2) is None
        store.close()
        if not again:
            migrate(settings, command.downgrade, "0009")


def test_a_failing_write_leaves_the_others_of_its_commit(store: Store) -> None:
    def failing(db):
        Key("half").set(db, 1)
        raise ValueError("no")

    good = [store.database.submit(lambda db, i=i: Key(f"n{i}").set(db, i)) for i in range(50)]
    bad = store.database.submit(failing)
    more = [store.database.submit(lambda db, i=i: Key(f"m{i}").set(db, i)) for i in range(50)]
    for future in good + more:
        future.result(10)
    with pytest.raises(ValueError, match="no"):
        bad.result(10)
    with store.database.read() as db:
        assert db.execute(select(func.count()).select_from(runtime)).scalar() == 100
        assert Key("half").get(db) is None


def test_writes_that_wait_share_a_commit(tmp_path: Path) -> None:
    store = Store.open(Settings(home=tmp_path), migrate=True)
    commits = []
    listener = commits.append
    release = threading.Event()
    event.listen(Engine, "commit", listener)
    try:
        first = store.database.submit(lambda db: release.wait(10))
        waiting = [
            store.database.submit(lambda db, i=i: Key(f"n{i}").set(db, i)) for i in range(200)
        ]
        release.set()
        for future in [first, *waiting]:
            future.result(10)
    finally:
        event.remove(Engine, "commit", listener)
        store.close()
    assert len(commits) <= 3


def test_a_cancelled_write_does_not_stop_the_writer(store: Store) -> None:
    futures = [store.database.submit(lambda db: Key("x").set(db, 1)) for _ in range(20)]
    for future in futures[10:]:
        future.cancel()
    store.database.write(lambda db: Key("y").set(db, 2))
    with store.database.read() as db:
        assert Key("y").get(db) == 2


def test_a_closed_database_says_so(tmp_path: Path) -> None:
    store = Store.open(Settings(home=tmp_path), migrate=True)
    store.close()
    with pytest.raises(RuntimeError, match="closed"):
        store.database.write(lambda db: Key("x").set(db, 1))


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from store.projects.key_values import Key
    from store.settings import Settings
    from store.store import Store
    store = Store.open(Settings(home=Path(sys.argv[1])), migrate=True)
    for i in range(1000):
        store.database.write(lambda db, i=i: Key(f"n{i}").set(db, i))
        print(i, flush=True)
        if i == 40:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_9_loses_nothing_acknowledged(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    acknowledged = [int(line) for line in run.stdout.split()]
    assert acknowledged[-1] == 40, run.stderr
    store = Store.open(Settings(home=tmp_path), migrate=True)
    with store.database.read() as db:
        assert [Key(f"n{i}").get(db) for i in acknowledged] == acknowledged
    store.close()
