"""Values under typed keys."""

from dataclasses import dataclass, field

from store.projects.key_values import Key, ProjectKey, dataclass_key
from store.store import Store


@dataclass(frozen=True)
class Point:
    x: float
    names: list[str] = field(default_factory=list)


POINT = dataclass_key("point", Point)


def test_a_value_is_read_as_it_was_set(store: Store) -> None:
    def write(db) -> None:
        POINT.of(1).set(db, Point(0.5, ["a"]))
        POINT.of(2).set(db, Point(1.5))
        POINT.of(2).set(db, Point(2.5))
        POINT.of(3).set(db, Point(3.5))
        POINT.of(3).delete(db)
        Key[float]("at").set(db, 0.0)

    store.database.write(write)
    with store.database.read() as db:
        assert POINT.of(1).get(db) == Point(0.5, ["a"])
        assert POINT.of(2).get(db) == Point(2.5)
        assert POINT.of(3).get(db) is None
        assert Key[float]("at").get(db) == 0.0


def test_values_are_stored_under_the_names_that_they_always_had(store: Store) -> None:
    store.database.write(lambda db: Key("point:7").set(db, {"x": 1.0}))
    with store.database.read() as db:
        assert POINT.of(7).get(db) == Point(1.0, [])


def test_what_another_version_stored_counts_as_nothing(store: Store) -> None:
    store.database.write(lambda db: Key("point:7").set(db, {"x": 1.0, "colour": "red"}))
    with store.database.read() as db:
        assert POINT.of(7).get(db) is None


def test_a_list_stays_a_list(store: Store) -> None:
    key: ProjectKey[list[str | int]] = ProjectKey("matrix")
    store.database.write(lambda db: key.of(1).set(db, ["space", 3]))
    with store.database.read() as db:
        assert key.of(1).get(db) == ["space", 3]
