"""The table of shards; a part of the schema."""

from sqlalchemy import Column, Double, ForeignKey, Integer, PrimaryKeyConstraint, Table, Text

from store.database.schema import metadata

embedding_shard = Table(  # parts of a project's images, embedded by several workers
    "embedding_shard",
    metadata,
    Column("project_id", ForeignKey("project.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("space", Text, nullable=False),
    Column("role", Text, nullable=False),  # of the space
    Column("first_id", Integer, nullable=False),  # of the rows of `task`
    Column("last_id", Integer, nullable=False),
    Column("claimed_by", Text),  # a job's id
    Column("fence", Integer, nullable=False),  # raised by each job that claims it
    Column("done_by", Text),  # the worker's name
    Column("done_at", Double),
    PrimaryKeyConstraint("project_id", "number"),
)
