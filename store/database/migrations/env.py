"""Alembic's entry: the connection is handed over by `Database.migrate`."""

from alembic import context

from store.database import shard_schema  # noqa: F401 - a part of it
from store.database.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
