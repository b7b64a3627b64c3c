"""Publications: written down before the first push, sent once, superseded as a whole."""

from store.predictions.pending_answers import (
    add_pending_answers,
    mark_answered,
    tasks_with_pending_answer,
)
from store.predictions.publications import (
    PredictionItem,
    add_publication,
    begin_chunk,
    end_chunk,
    end_publication,
    latest_predictions,
    next_chunk,
    pending_publications,
    predicted_tasks,
    published_tasks,
    save_predictions,
)
from store.projects.projects import Project, get_project, serve
from store.store import Store
from store.versions.versions import (
    RETIRED,
    SERVED,
    Version,
    list_versions,
    mark_served,
)
from tests.support.versions import plain_version


def new_version(store: Store, project: Project) -> Version:
    return store.database.write(
        lambda db: plain_version(
            db,
            project.id,
            status="candidate",
            embedding_space="space",
            labels_digest="d",
            verdict="first",
        )
    )


def publish(store: Store, project: Project, version: Version, count: int, reason="version") -> int:
    items = [PredictionItem(task, 0.1, []) for task in range(count)]
    return store.database.write(
        lambda db: add_publication(db, project.id, version.id, reason, items)
    )


def test_chunks_come_in_order_until_all_are_sent(store: Store, project: Project) -> None:
    version = new_version(store, project)
    publication_id = publish(store, project, version, 450)
    sizes = []
    while True:
        with store.database.read() as db:
            (pending,) = pending_publications(db, project.id)
            chunk = next_chunk(db, publication_id)
        if chunk is None:
            break
        store.database.write(lambda db, c=chunk: begin_chunk(db, c))
        store.database.write(lambda db, p=pending, c=chunk: end_chunk(db, p, c, 0.5, sent=c.items))
        sizes.append(len(chunk.items))
    store.database.write(lambda db: end_publication(db, publication_id))
    assert sizes == [200, 200, 50]
    with store.database.read() as db:
        assert pending_publications(db, project.id) == []
        assert predicted_tasks(db, project.id, version.id) == set(range(450))
        assert published_tasks(db, publication_id) == set(range(450))


def test_a_chunk_whose_sending_began_shows_it(store: Store, project: Project) -> None:
    publication_id = publish(store, project, new_version(store, project), 3)
    with store.database.read() as db:
        chunk = next_chunk(db, publication_id)
    assert chunk is not None
    assert chunk.attempts == 0
    store.database.write(lambda db: begin_chunk(db, chunk))
    with store.database.read() as db:
        again = next_chunk(db, publication_id)
    assert again is not None
    assert (again.id, again.attempts) == (chunk.id, 1)


def test_a_new_version_supersedes_what_is_pending(store: Store, project: Project) -> None:
    first, second = new_version(store, project), new_version(store, project)
    publish(store, project, first, 3)
    publish(store, project, first, 3, "refresh")
    newest = publish(store, project, second, 3)
    with store.database.read() as db:
        assert [p.id for p in pending_publications(db, project.id)] == [newest]


def test_an_older_publication_cannot_take_the_pointer_back(store: Store, project: Project) -> None:
    first, second = new_version(store, project), new_version(store, project)
    assert store.database.write(lambda db: serve(db, project.id, second.id, 8))
    assert not store.database.write(lambda db: serve(db, project.id, first.id, 7))
    with store.database.read() as db:
        current = get_project(db, project.id)
    assert current is not None
    assert current.served_version_id == second.id


def test_serving_a_version_retires_the_older(store: Store, project: Project) -> None:
    first, second = new_version(store, project), new_version(store, project)
    store.database.write(lambda db: mark_served(db, first))
    store.database.write(lambda db: mark_served(db, second))
    with store.database.read() as db:
        states = {version.name: version.status for version in list_versions(db, project.id)}
    assert states == {"apprentice v1": RETIRED, "apprentice v2": SERVED}


def test_the_newest_prediction_of_a_task_is_known(store: Store, project: Project) -> None:
    first, second = new_version(store, project), new_version(store, project)

    def write(db):
        save_predictions(
            db,
            project.id,
            first.id,
            [PredictionItem(1, 0.1, []), PredictionItem(2, 0.1, [])],
            "pushed",
        )
        save_predictions(db, project.id, second.id, [PredictionItem(2, 0.1, [])], "answered")

    store.database.write(write)
    with store.database.read() as db:
        assert latest_predictions(db, project.id) == {1: first.id, 2: second.id}


def test_debts_are_remembered_once_and_settled(store: Store, project: Project) -> None:
    store.database.write(lambda db: add_pending_answers(db, project.id, [1, 2]))
    store.database.write(lambda db: add_pending_answers(db, project.id, [2, 3]))
    store.database.write(lambda db: mark_answered(db, project.id, [1]))
    with store.database.read() as db:
        assert tasks_with_pending_answer(db, project.id) == {2, 3}
