"""Makes a database anew, as it was at a revision of the schema."""

from sqlalchemy import Connection, MetaData, inspect

from store.database.engine import MIGRATIONS, Database
from store.database.schema import metadata
from store.database.shard_schema import embedding_shard

OWN_TABLES = {"alembic_version", "embedding", embedding_shard.name, *metadata.tables}


def recreate(database: Database, revision: str) -> None:
    """Drop all tables of ours, and make those of a revision.

    Raises:
        LookupError: no migration is called so.
    """
    if not list((MIGRATIONS / "versions").glob(f"{revision}_*.py")):
        raise LookupError(revision)
    with database.read() as db:
        used = inspect(db).has_table("alembic_version")
    if used:
        database.migrate()  # then it has the tables that are known here, and no others
        database.write(_drop)
    database.upgrade(revision)


def _drop(db: Connection) -> None:
    known = MetaData()
    known.reflect(db, only=lambda name, _: name in OWN_TABLES)
    known.drop_all(db)
