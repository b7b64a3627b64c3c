"""Finding out under which addresses a Label Studio's tasks name its files."""

from collections.abc import Iterator

import pytest
from sqlalchemy import update

from services.connections.aliases import AliasFinder
from services.connections.clients import studio_for
from store.database.schema import task
from store.projects.connections import DEFAULT, get_connection, save_connection
from store.tasks.tasks import get_tasks
from tests.support.scripted_studio import IMAGE, LEGACY_TOKEN, UPLOAD, Reply, ScriptedServer
from tests.support.workbench import Workbench


@pytest.fixture
def server(workbench: Workbench) -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        server.on(UPLOAD, Reply(200, IMAGE))
        workbench.store.database.write(
            lambda db: save_connection(db, DEFAULT, server.url, LEGACY_TOKEN)
        )
        yield server


def finder(bench: Workbench) -> AliasFinder:
    return AliasFinder(bench.store, studio_for(bench.store, DEFAULT), DEFAULT)


def known_aliases(bench: Workbench) -> tuple[str, ...]:
    with bench.store.database.read() as db:
        connection = get_connection(db, DEFAULT)
    assert connection is not None
    return connection.aliases


@pytest.mark.parametrize("alias", ["/foo", "http://localhost:{port}", "http://localhost:9"])
def test_an_address_that_leads_to_the_same_file_is_kept(
    workbench: Workbench, server: ScriptedServer, alias: str
) -> None:
    alias = alias.format(port=server.port)

    def break_image(db):
        db.execute(
            update(task)
            .where(task.c.ls_id == 1)
            .values(uri=alias + UPLOAD, image_error="Label Studio answers 404")
        )

    workbench.store.database.write(break_image)
    assert finder(workbench).look([(1, alias + UPLOAD)]) == [alias]
    assert known_aliases(workbench) == (alias,)
    with workbench.store.database.read() as db:
        (image,) = get_tasks(db, workbench.project_id, [1]).values()
    assert image.image_error is None  # tried again
    assert finder(workbench).look([(1, alias + UPLOAD)]) == []
    server.routes.clear()
    server.requests.clear()
    finder(workbench).look([(1, alias + UPLOAD)])
    assert server.requests == []  # it is known


def test_an_address_that_works_or_leads_nowhere_is_none(
    workbench: Workbench, server: ScriptedServer
) -> None:
    server.on("/foo" + UPLOAD, Reply(200, IMAGE))
    nowhere = UPLOAD.replace("cat", "dog")
    found = finder(workbench).look([(1, "/foo" + UPLOAD), (2, "http://localhost:9" + nowhere)])
    assert found == []
    assert known_aliases(workbench) == ()
    server.requests.clear()
    assert finder(workbench).look([(1, "/foo" + UPLOAD)]) == []
    assert server.requests == []  # it was tried before
    del server.routes["/foo" + UPLOAD]
    again = AliasFinder(workbench.store, studio_for(workbench.store, DEFAULT), DEFAULT, again=True)
    assert again.look([(1, "/foo" + UPLOAD)]) == ["/foo"]


def test_a_fault_that_passes_settles_nothing(workbench: Workbench, server: ScriptedServer) -> None:
    server.on(UPLOAD, Reply(503))
    assert finder(workbench).look([(1, "/foo" + UPLOAD)]) == []
    server.on(UPLOAD, Reply(200, IMAGE))
    assert finder(workbench).look([(1, "/foo" + UPLOAD)]) == ["/foo"]


def test_another_server_has_other_aliases(workbench: Workbench, server: ScriptedServer) -> None:
    finder(workbench).look([(1, "/foo" + UPLOAD)])
    workbench.store.database.write(
        lambda db: save_connection(db, DEFAULT, "http://localhost:9", LEGACY_TOKEN)
    )
    assert known_aliases(workbench) == ()
