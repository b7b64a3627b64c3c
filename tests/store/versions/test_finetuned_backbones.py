"""Fine-tuned backbones in both databases: kept, retired, cleared, and tuned once more."""

import numpy as np

from store.projects.projects import Project, save_project
from store.store import Store
from store.versions.finetuned_backbones import (
    add_tuned,
    find_tuned,
    is_kept,
    is_shared,
    list_uncleared,
    mark_cleared,
    may_be_served,
    retire_tuned,
)

DIGEST = "ab" * 32
NAME = f"tuned:{DIGEST}"


def add(store: Store, project_id: int) -> None:
    store.database.write(
        lambda db: add_tuned(
            db,
            project_id,
            digest=DIGEST,
            base_backbone="test:tiny",
            labels=3,
            training_tasks=[1, 2],
            validation_tasks=[3],
            report={},
        )
    )


def test_a_retired_backbone_may_not_be_served_until_it_is_tuned_again(
    store: Store, project: Project
) -> None:
    add(store, project.id)
    (known,) = store.database.write(lambda db: list_uncleared(db, project.id, lock=True))
    assert store.database.write(lambda db: may_be_served(db, project.id, NAME))
    store.database.write(lambda db: retire_tuned(db, known))
    assert not store.database.write(lambda db: may_be_served(db, project.id, NAME))
    store.database.write(lambda db: mark_cleared(db, known))
    with store.database.read() as db:
        assert list_uncleared(db, project.id) == []
        assert not is_kept(db, DIGEST)
    add(store, project.id)
    assert store.database.write(lambda db: may_be_served(db, project.id, NAME))
    with store.database.read() as db:
        again = find_tuned(db, project.id, NAME)
        assert is_kept(db, DIGEST)
    assert again is not None
    assert (again.id, again.retired_at, again.cleared_at) == (known.id, None, None)


def test_weights_that_another_project_uses_are_shared(store: Store, project: Project) -> None:
    other = store.database.write(
        lambda db: save_project(db, project.connection_id, 8, 1000, title="", label_config="")
    )
    add(store, project.id)
    with store.database.read() as db:
        (known,) = list_uncleared(db, project.id)
        assert not is_shared(db, known)
    add(store, other.id)
    with store.database.read() as db:
        assert is_shared(db, known)


def test_a_space_is_dropped_some_at_a_time_and_no_other_with_it(store: Store) -> None:
    vectors = {f"image{index}": np.zeros(4, np.float16) for index in range(5)}
    for space in ("going", "staying"):
        store.embeddings.put(space, vectors)
    assert store.embeddings.drop("going", 3) == 3
    assert store.embeddings.drop("going", 3) == 2
    assert store.embeddings.get("going", list(vectors)) == {}
    assert len(store.embeddings.get("staying", list(vectors))) == 5
