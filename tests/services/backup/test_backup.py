"""A backup made while everything runs, restored in either database: of one moment, or nothing."""

import json
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select, text

from services.backup.archive import MANIFEST, BackupError
from services.backup.dump import write_backup
from services.backup.restore import restore_backup
from services.suggestions.predictor import Predictor
from store.database.schema import annotation, metadata, project, runtime, task
from store.identity import read_identity
from store.settings import Settings
from store.store import Store
from store.tasks.annotations import AnnotationRecord, save_annotations
from store.tasks.tasks import TaskRecord, save_tasks
from store.versions.versions import Version, get_version, newest_version
from studio.config import parse_label_config
from tests.support.serving import serve_newest
from tests.support.workbench import SPACE, Workbench, label_config

PASSING = {"reconciled_at", "listed_at"}


@pytest.fixture
def served(workbench: Workbench) -> Workbench:
    """A project that serves a version."""
    workbench.annotate(workbench.tasks_of("cat", 10) | workbench.tasks_of("dog", 10))
    workbench.run("learn")
    serve_newest(workbench)
    return workbench


def settings_for(place: str, tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    url = request.getfixturevalue("postgres") if place == "postgres" else None
    return Settings(home=tmp_path / "restored", database_url=url)


def contents(store: Store) -> dict[str, list[dict]]:
    """All rows but those of running processes."""
    with store.database.read() as db:
        rows = {
            table.name: [
                {key: value for key, value in row._mapping.items() if key not in PASSING}
                for row in db.execute(select(table).order_by(*table.primary_key.columns))
            ]
            for table in metadata.sorted_tables
        }
    rows["runtime"] = [row for row in rows["runtime"] if row["name"] != "identity"]
    return rows


def answers(store: Store, version: Version) -> list[object]:
    """What the version suggests for some images."""
    vectors = store.embeddings.get(SPACE, [f"image{number}" for number in range(1, 20)])
    stacked = np.stack([vectors[key] for key in sorted(vectors)])
    config = parse_label_config(label_config())
    suggestions = Predictor.load(store, version).suggest(config, stacked, 0.0)
    assert all(each.result for each in suggestions)
    return [(each.confidence, each.result[0].value) for each in suggestions]


@pytest.mark.parametrize("place", ["sqlite", "postgres"])
def test_everything_is_the_same_afterwards(
    served: Workbench, tmp_path: Path, place: str, request: pytest.FixtureRequest
) -> None:
    file = tmp_path / "backup"
    write_backup(served.store, file)
    assert file.stat().st_mode & 0o777 == 0o600
    restored_settings = settings_for(place, tmp_path, request)
    restore_backup(restored_settings, file)
    restored = Store.open(restored_settings)
    try:
        assert contents(restored) == contents(served.store)
        keys = [f"image{number}" for number in served.truth]
        before, after = (store.embeddings.get(SPACE, keys) for store in (served.store, restored))
        assert before.keys() == after.keys() == set(keys)
        assert all(np.array_equal(before[key], after[key]) for key in keys)
        with restored.database.read() as db:
            version = newest_version(db, served.project_id)
            row = db.execute(select(project)).one()
        assert version is not None
        assert version.id == row.served_version_id
        assert row.reconciled_at is None
        assert answers(restored, version) == answers(served.store, version)
        assert read_identity(restored) != read_identity(served.store), "a copy is another store"
        again = tmp_path / "again"
        write_backup(restored, again)
        restore_backup(Settings(home=tmp_path / "back"), again)
        back = Store.open(Settings(home=tmp_path / "back"))
        assert contents(back) == contents(served.store)
        back.database.write(  # new rows are numbered on
            lambda db: save_tasks(db, served.project_id, [TaskRecord(9999, {}, "/x", 1.0)])
        )
        back.close()
        restored.database.write(
            lambda db: save_tasks(db, served.project_id, [TaskRecord(9999, {}, "/x", 1.0)])
        )
    finally:
        restored.close()


@pytest.mark.parametrize("place", ["sqlite", "postgres"])
def test_a_backup_under_load_is_of_one_moment(
    workbench: Workbench, tmp_path: Path, place: str, request: pytest.FixtureRequest
) -> None:
    """Each transaction writes a task and its annotation: a backup has both or neither."""
    store, project_id = workbench.store, workbench.project_id
    if place == "postgres":
        first = tmp_path / "first"
        write_backup(store, first)
        moved = Settings(home=tmp_path / "moved", database_url=request.getfixturevalue("postgres"))
        restore_backup(moved, first, force=True)
        store = Store.open(moved)
    stop, written = threading.Event(), []

    def load() -> None:
        number = 10_000
        while not stop.is_set():
            number += 1

            def write(db, number=number):
                save_tasks(db, project_id, [TaskRecord(number, {}, f"/{number}", 1.0)])
                save_annotations(db, project_id, [AnnotationRecord(number, number, 1.0, 1.0, [])])

            store.database.write(write)
            store.embeddings.put(SPACE, {f"load{number}": np.ones(4, np.float16)})
            written.append(number)

    loading = threading.Thread(target=load)
    loading.start()
    counts = []
    try:
        for number in range(3):
            before = len(written)
            while len(written) < before + 20:
                pass
            file = tmp_path / f"backup{number}"
            write_backup(store, file)
            target = Settings(home=tmp_path / f"restored{number}")
            restore_backup(target, file)
            restored = Store.open(target)
            with restored.database.read() as db:
                loaded = task.c.ls_id > 10_000
                tasks = set(db.execute(select(task.c.ls_id).where(loaded)).scalars())
                labelled = set(db.execute(select(annotation.c.task_ls_id)).scalars())
            restored.close()
            assert tasks == labelled
            counts.append(len(tasks))
    finally:
        stop.set()
        loading.join()
        if place == "postgres":
            store.close()
    assert counts == sorted(counts)
    assert counts[0] > 0


def test_without_embeddings_they_are_computed_again(workbench: Workbench, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    write_backup(workbench.store, file, embeddings=False)
    restore_backup(Settings(home=tmp_path / "restored"), file)
    restored = Store.open(Settings(home=tmp_path / "restored"))
    with restored.database.read() as db:
        assert db.execute(select(func.count(task.c.embedded_space))).scalar_one() == 0
    assert restored.embeddings.get(SPACE, ["image1"]) == {}
    restored.close()


def test_what_is_there_is_replaced_only_on_demand(workbench: Workbench, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    write_backup(workbench.store, file)
    before = contents(workbench.store)
    target = Settings(home=tmp_path / "other")
    restore_backup(target, file)
    other = Store.open(target)
    other.database.write(lambda db: db.execute(text("UPDATE project SET title = 'changed'")))
    other.close()
    with pytest.raises(BackupError, match="--force"):
        restore_backup(target, file)
    restore_backup(target, file, force=True)
    other = Store.open(target)
    assert contents(other) == before
    other.close()


@pytest.mark.parametrize("damage", ["cut", "changed", "not there", "other", "newer", "too new"])
def test_a_damaged_backup_changes_nothing(
    workbench: Workbench, tmp_path: Path, damage: str
) -> None:
    file = tmp_path / "backup"
    write_backup(workbench.store, file)
    content = file.read_bytes()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "not there":
        file.unlink()
    elif damage == "other":
        file.write_bytes(b"nonsense")
    else:
        rewrite(file, damage)
    target = Settings(home=tmp_path / "restored")
    with pytest.raises(BackupError):
        restore_backup(target, file)
    database = target.home / "apprentice.db"
    if database.exists():
        store = Store.open(target, migrate=True)
        assert contents(store)["connection"] == []
        store.close()


def rewrite(file: Path, damage: str) -> None:
    with zipfile.ZipFile(file) as backup:
        entries = {name: backup.read(name) for name in backup.namelist()}
    if damage == "changed":
        entries["tables/project.jsonl"] = entries["tables/project.jsonl"].replace(b"Pets", b"Cats")
    manifest = json.loads(entries[MANIFEST])
    if damage == "newer":
        manifest["format"] = 99
    if damage == "too new":
        manifest["schema"] = "9999"
    entries[MANIFEST] = json.dumps(manifest).encode()
    with zipfile.ZipFile(file, "w") as backup:
        for name, content in entries.items():
            backup.writestr(name, content)


def test_a_lost_model_is_named_and_the_rest_is_saved(served: Workbench, tmp_path: Path) -> None:
    with served.store.database.read() as db:
        newest = newest_version(db, served.project_id)
        assert newest is not None
        assert get_version(db, newest.id) is not None
    assert newest.artifact is not None
    served.store.artifacts.remove_files(newest.artifact)
    manifest = write_backup(served.store, tmp_path / "backup")
    assert manifest.missing == [newest.artifact]
    restore_backup(Settings(home=tmp_path / "restored"), tmp_path / "backup")


def test_values_of_running_processes_stay_out(workbench: Workbench, tmp_path: Path) -> None:
    write_backup(workbench.store, tmp_path / "backup")
    restore_backup(Settings(home=tmp_path / "restored"), tmp_path / "backup")
    restored = Store.open(Settings(home=tmp_path / "restored"))
    with restored.database.read() as db:
        names = set(db.execute(select(runtime.c.name)).scalars())
    assert "scheduler" not in names
    restored.close()
