"""The tables. Times are seconds since 1970 (UTC) as floats; `ls_id` is an id in Label Studio."""

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    false,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _project() -> Column[int]:
    return Column("project_id", ForeignKey("project.id", ondelete="CASCADE"), nullable=False)


connection = Table(
    "connection",
    metadata,
    Column("id", Text, primary_key=True),  # appears in our URL: /c/ID
    Column("url", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("secret", Text, nullable=False),  # webhooks must carry it
    Column("created_at", Double, nullable=False),
)

project = Table(
    "project",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("connection_id", ForeignKey("connection.id", ondelete="CASCADE"), nullable=False),
    Column("ls_id", Integer, nullable=False),
    Column("ls_created", Integer, nullable=False),  # whole seconds: tells a reused id apart
    Column("title", Text, nullable=False),
    Column("label_config", Text, nullable=False),
    Column("reason", Text),  # why nothing can be learned or suggested
    Column("connected_at", Double),  # set by `connect`, null when only the URL was pasted
    Column("gone_at", Double),  # deleted in Label Studio, or disconnected
    Column("found", JSON),  # what `connect` changed, as it was before
    Column("backend_id", Integer),
    Column("webhook_id", Integer),
    Column("tasks_cursor", Double),  # newest task.updated_at that was read
    Column("listed_at", Double),  # when all task ids were last compared
    Column("reconciled_at", Double),
    Column("backbone", Text),  # that a person chose for it; null: the one of the settings
    Column("base_backbone", Text),  # pretrained: embedding_space is its own, or a tuned copy's
    Column("embedding_space", Text),  # in which it is learned
    Column("next_backbone", Text),  # that it moves to; null when it doesn't move
    Column("next_space", Text),  # where it moves to, once that backbone was opened
    Column("next_error", Text),  # why that backbone can't be used
    Column("next_retry_at", Double),  # when it is tried again
    Column("served_version_id", Integer),
    Column("served_fence", Integer, nullable=False, default=0),  # publication that set it
    Column("held_at", Double),  # a person chose what is served: nothing newer takes over by itself
    Column("renames", JSON(none_as_null=True)),  # of classes and controls that labels still name
    UniqueConstraint("connection_id", "ls_id", "ls_created"),
)

task = Table(  # a row for each image of a task: one, where its data has no list of them
    "task",
    metadata,
    Column("id", Integer, primary_key=True),
    _project(),
    Column("ls_id", Integer, nullable=False),
    Column("item", Integer, nullable=False, server_default="0"),  # which image of it, from 0
    Column("data", JSON, nullable=False),  # of the task; empty at all but its first image
    Column("uri", Text),  # of the image; null when the task has none
    Column("image_key", Text),  # SHA-256 of the image's bytes, once they were read
    Column("embedded_space", Text),  # the space that holds this image's embedding
    Column("next_space", Text),  # the one that it moves to, once it holds it too
    Column("image_error", Text),  # permanent: this image can never be used
    Column("image_problem", Text),  # the kind of what is wrong, or suspicious, with the image
    Column("image_note", Text),  # the message, where image_error doesn't hold it
    Column("retries", Integer, nullable=False, default=0),
    Column("retry_at", Double),  # after a passing fault
    Column("split", Text),  # "holdout", assigned once
    # Whether the task has a usable label; null when its annotations were not read since they
    # changed. Of a task with several images, its first one's row says it.
    Column("labelled", Boolean, server_default=false()),
    Column("label_faults", Text),  # what of its annotations can't be learned, and why, as JSON
    Column("updated_at", Double, nullable=False),
    Column("deleted_at", Double),
    UniqueConstraint("project_id", "ls_id", "item"),
    Index(None, "project_id", "image_key"),
)

annotation = Table(
    "annotation",
    metadata,
    Column("id", Integer, primary_key=True),
    _project(),
    Column("task_ls_id", Integer, nullable=False),
    Column("ls_id", Integer, nullable=False),
    Column("created_at", Double, nullable=False),  # Label Studio's; it uses ids again
    Column("updated_at", Double, nullable=False),  # Label Studio's; the last write wins
    Column("received_at", Double, nullable=False),
    Column("completed_by", Integer),
    Column("was_cancelled", Boolean, nullable=False),
    Column("ground_truth", Boolean, nullable=False),
    Column("lead_time", Double),  # seconds
    Column("parent_prediction", Integer),  # as first seen: Label Studio forgets it later
    Column("result", JSON, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("current", Boolean, nullable=False),  # the one row of ls_id that counts
    UniqueConstraint("project_id", "ls_id", "updated_at", "deleted"),
    Index(None, "project_id", "task_ls_id"),
    Index("ix_annotation_current", "project_id", "current"),
)

version = Table(
    "version",
    metadata,
    Column("id", Integer, primary_key=True),
    _project(),
    Column("number", Integer, nullable=False),  # `apprentice v12`; 0 orders before the first label
    Column("kind", Text, nullable=False),  # start, head, finetune
    Column("status", Text, nullable=False),  # candidate, served, retired, refused
    Column("embedding_space", Text, nullable=False),
    Column("labels", Integer, nullable=False),
    Column("labels_digest", Text, nullable=False),  # of what it was trained on
    Column("metrics", JSON, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("artifact", Text),  # digest
    Column("created_at", Double, nullable=False),
    Column("published_at", Double),
    Column("superseded_at", Double),
    Column("swept_at", Double),  # its predictions were deleted in Label Studio
    UniqueConstraint("project_id", "number"),
)

tuned = Table(  # fine-tuned backbones
    "tuned",
    metadata,
    Column("id", Integer, primary_key=True),
    _project(),
    Column("digest", Text, nullable=False),  # of its weights: the backbone `tuned:DIGEST`
    Column("base_backbone", Text, nullable=False),  # that it was tuned from
    Column("labels", Integer, nullable=False),  # there were, those held out included
    Column("seen", JSON, nullable=False),  # ls_id of the tasks whose labels it was fitted on
    Column("held", JSON, nullable=False),  # and of those that only chose when it was good
    Column("report", JSON, nullable=False),  # how it was tuned: method, history, seconds
    Column("created_at", Double, nullable=False),
    Column("retired_at", Double),  # from then on nothing may be served with it
    Column("cleared_at", Double),  # its weights and embeddings were deleted
    UniqueConstraint("project_id", "digest"),
)

publication = Table(
    "publication",
    metadata,
    Column("id", Integer, primary_key=True),
    _project(),
    Column("version_id", ForeignKey("version.id", ondelete="CASCADE"), nullable=False),
    Column("reason", Text, nullable=False),  # version, refill, refresh, owed, apply
    Column("state", Text, nullable=False),  # pending, done, superseded
    Column("created_at", Double, nullable=False),
    Column("done_at", Double),
    Column("seconds", Double, nullable=False, default=0),  # of Label Studio's time
    Index(None, "project_id", "state"),
)

publication_chunk = Table(
    "publication_chunk",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("publication_id", ForeignKey("publication.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("items", JSON, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("sent_at", Double),
    UniqueConstraint("publication_id", "position"),
)

prediction = Table(
    "prediction",
    metadata,
    Column("id", Integer, primary_key=True),
    _project(),
    Column("version_id", ForeignKey("version.id", ondelete="CASCADE"), nullable=False),
    Column("task_ls_id", Integer, nullable=False),
    Column("score", Double, nullable=False),  # Label Studio's order
    Column("result", JSON, nullable=False),  # empty: no suggestion was shown
    Column("withheld", JSON(none_as_null=True)),  # the suggestion of a task in the control group
    Column("source", Text, nullable=False),  # pushed, answered; swept: deleted there
    Column("at", Double, nullable=False),
    UniqueConstraint("project_id", "version_id", "task_ls_id"),
)

selection = Table(
    "selection",
    metadata,
    Column("id", Integer, primary_key=True),
    _project(),
    Column("version_id", ForeignKey("version.id", ondelete="CASCADE"), nullable=False),
    Column("task_ls_id", Integer, nullable=False),
    Column("rank", Integer, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("probability", Double),  # of being picked, where it is known
    Column("created_at", Double, nullable=False),
    Column("active", Boolean, nullable=False),  # part of today's shortlist
    Index("ix_selection_active", "project_id", "active"),
)

work = Table(
    "work",
    metadata,
    Column("project_id", ForeignKey("project.id", ondelete="CASCADE"), primary_key=True),
    Column("kind", Text, primary_key=True),  # a queue's name
    Column("wanted", Integer, nullable=False),
    Column("enqueued", Integer, nullable=False),
    Column("done", Integer, nullable=False),
    Column("fence", Integer, nullable=False),  # raised by each job that begins
    Column("wanted_at", Double, nullable=False),  # oldest request that is not done
    Column("touched_at", Double, nullable=False),  # newest request
    Column("not_before", Double, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("error", Text),
)

job = Table(
    "job",
    metadata,
    Column("id", Text, primary_key=True),
    _project(),
    Column("kind", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("state", Text, nullable=False),  # queued, started, finished, failed, lost, cancelled
    Column("progress", Double, nullable=False, default=0),  # 0 to 1
    Column("message", Text, nullable=False, default=""),
    Column("timings", JSON),  # seconds by step
    Column("error", Text),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double),
    Index(None, "project_id", "created_at"),
)

owed = Table(  # tasks that Label Studio asked about before an answer was ready
    "owed",
    metadata,
    Column("project_id", ForeignKey("project.id", ondelete="CASCADE"), primary_key=True),
    Column("task_ls_id", Integer, primary_key=True),
    Column("since", Double, nullable=False),
)

review = Table(  # what the last learning found out about the labels
    "review",
    metadata,
    Column("project_id", ForeignKey("project.id", ondelete="CASCADE"), primary_key=True),
    Column("at", Double, nullable=False),  # when the labels were read
    Column("found", JSON, nullable=False),
)

goal = Table(  # what a team wants of a project
    "goal",
    metadata,
    Column("project_id", ForeignKey("project.id", ondelete="CASCADE"), primary_key=True),
    Column("accuracy", Double),  # to be reached
    Column("accept_error", Double),  # share of wrong ones among accepted suggestions; null: off
    Column("accept_writes", Boolean, nullable=False),  # as annotations, not only marked
    Column("changed_at", Double, nullable=False),
)

advice = Table(  # accuracy by random picks, and whether more labels and choosing pay
    "advice",
    metadata,
    _project(),
    Column("version_id", ForeignKey("version.id", ondelete="CASCADE"), primary_key=True),
    Column("at", Double, nullable=False),
    Column("found", JSON, nullable=False),
)

acceptance = Table(  # suggestions taken without a person looking at them
    "acceptance",
    metadata,
    _project(),
    Column("task_ls_id", Integer, nullable=False),
    Column("version_id", ForeignKey("version.id", ondelete="CASCADE"), nullable=False),
    Column("confidence", Double, nullable=False),
    Column("result", JSON, nullable=False),
    Column("state", Text, nullable=False),  # marked, wanted, sent, written, withdrawn
    Column("annotation_ls_id", Integer),  # once written
    Column("at", Double, nullable=False),
    PrimaryKeyConstraint("project_id", "task_ls_id"),
)

runtime = Table(  # values that processes share
    "runtime",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", JSON, nullable=False),
    Column("at", Double, nullable=False),
)
