"""Embeddings: float16 rows keyed by space (backbone and precision) and image. A cache.

On SQLite in a file of its own, so that a webhook's commit never waits behind bulk writes; it can
be computed again, so its commits need not survive a power cut. Otherwise a plain table.
"""

from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Column, LargeBinary, MetaData, Table, Text, delete, make_url, select

from store.database.engine import make_engine
from store.database.locks import lock_name
from store.settings import Settings

CHUNK = 500  # keys in one query

Vectors = npt.NDArray[np.float16]

metadata = MetaData()
embedding = Table(
    "embedding",
    metadata,
    Column("space", Text, primary_key=True),
    Column("image_key", Text, primary_key=True),
    Column("vector", LargeBinary, nullable=False),  # float16, little-endian
    sqlite_with_rowid=False,
)


class Embeddings:
    """The vectors of all images, in every space."""

    def __init__(self, settings: Settings) -> None:
        url = settings.database
        self._is_sqlite = make_url(url).get_backend_name() == "sqlite"
        if self._is_sqlite:
            from sqlalchemy.dialects.sqlite import insert

            self._insert: Any = insert
            url = f"sqlite:///{settings.home / 'embeddings.db'}"
        else:  # 50 ms to import
            from sqlalchemy.dialects.postgresql import insert as postgresql_insert

            self._insert = postgresql_insert
        self._reader = make_engine(url, synchronous="NORMAL")
        self._writer = make_engine(url, synchronous="NORMAL", write=True, size=1)

    def create(self) -> None:
        """Create the table where it is missing."""
        with self._writer.begin() as connection:
            lock_name(connection, "migration")
            metadata.create_all(connection)

    def put(self, space: str, vectors: Mapping[str, Vectors]) -> None:
        """Store vectors [D] by image key; existing ones stay."""
        if not vectors:
            return
        rows = [
            {"space": space, "image_key": key, "vector": vector.astype("<f2").tobytes()}
            for key, vector in sorted(vectors.items(), key=itemgetter(0))  # as others lock them
        ]
        statement = self._insert(embedding).on_conflict_do_nothing()
        with self._writer.connect() as connection, connection.begin():
            connection.execute(statement, rows)

    def get(self, space: str, image_keys: Sequence[str]) -> dict[str, Vectors]:
        """{image key: vector [D]} of the images that have one."""
        vectors_of: dict[str, Vectors] = {}
        keys = list(dict.fromkeys(image_keys))
        with self._reader.connect() as connection:
            for start in range(0, len(keys), CHUNK):
                rows = connection.execute(
                    select(embedding.c.image_key, embedding.c.vector).where(
                        embedding.c.space == space,
                        embedding.c.image_key.in_(keys[start : start + CHUNK]),
                    )
                )
                vectors_of |= {key: np.frombuffer(vector, "<f2") for key, vector in rows}
        return vectors_of

    def all(self) -> Iterator[tuple[str, str, bytes]]:
        """Space, image key and bytes (float16, little-endian) of every vector, by space."""
        query = select(embedding).order_by(embedding.c.space, embedding.c.image_key)
        with self._reader.connect() as connection:
            for row in connection.execution_options(yield_per=CHUNK).execute(query):
                yield row.space, row.image_key, row.vector

    def clear(self) -> None:
        """Delete every vector."""
        with self._writer.connect() as connection, connection.begin():
            connection.execute(delete(embedding))

    def drop(self, space: str, count: int) -> int:
        """Delete at most `count` vectors of a space; returns how many were."""
        of_space = embedding.c.space == space
        some = select(embedding.c.image_key).where(of_space).limit(count)
        statement = delete(embedding).where(of_space, embedding.c.image_key.in_(some))
        with self._writer.connect() as connection, connection.begin():
            return connection.execute(statement).rowcount

    def close(self) -> None:
        """Let go of the database."""
        self._reader.dispose()
        self._writer.dispose()
