"""Deletes the weights and embeddings of fine-tuned backbones that no version needs.

Each is tens of megabytes, and 2.5 KB an image of embeddings. What is served, moved to, pushed or
waits as a candidate is kept, so is what `rollback` without a name returns to, and whatever was in
use within the last day (APPRENTICE_KEEP_VERSIONS_HOURS). The note that it was there stays.
"""

import time

import structlog
from sqlalchemy import Connection, update
from sqlalchemy.exc import SQLAlchemyError

from services.embedding.backbones import delete_finetuned, local_finetuned
from services.job_context import TIME_BOX, JobContext
from store.database.locks import lock_project
from store.database.schema import task
from store.predictions.publications import pending_publications
from store.projects.embedding_spaces import TUNED, backbone_of
from store.projects.projects import get_project
from store.store import Store
from store.versions.finetuned_backbones import (
    FinetunedBackbone,
    is_kept,
    is_shared,
    list_uncleared,
    mark_cleared,
    retire_tuned,
)
from store.versions.versions import CANDIDATE, Version, list_versions, served_before
from store.work import pending_work
from store.work.work_kind import WorkKind

log = structlog.get_logger()

BATCH = 2_000  # embeddings deleted at a time: 5 MB, nobody waits long for the database
PRECISIONS = ("float32", "bfloat16")  # that a space can be of


def delete_unused_backbones(context: JobContext) -> None:
    """Delete weights and embeddings of unused backbones, for at most the job's time box.

    What can't be deleted now is tried again by the next job.
    """
    store = context.store
    before = time.time() - store.settings.keep_versions_hours * 3600
    with store.database.read() as db:
        old = [
            backbone
            for backbone in list_uncleared(db, context.project.id)
            if _is_old(backbone, before)
        ]
    try:
        if old:
            for backbone in store.database.write(lambda db: _retire(db, context, before)):
                _clear(context, backbone)
        _clear_orphans(context, before)
    except (OSError, SQLAlchemyError) as error:
        log.warning("a fine-tuned backbone couldn't be deleted", error=str(error))


def _is_old(backbone: FinetunedBackbone, before: float) -> bool:
    return backbone.retired_at is not None or backbone.created_at < before


def _is_tuning(db: Connection) -> bool:
    """Whether a fine-tuning is under way: the same labels would give the same weights again."""
    return any(item.kind == WorkKind.FINETUNE for item in pending_work.list_wanted(db))


def _retire(db: Connection, context: JobContext, before: float) -> list[FinetunedBackbone]:
    """Retire the backbones to delete, so that nothing is served with them any more."""
    pending_work.check(db, context.lease)
    lock_project(db, context.project.id)
    if _is_tuning(db):
        return []
    project_id = context.project.id
    uncleared = list_uncleared(db, project_id, lock=True)
    needed = _needed(db, project_id, before)
    going = []
    for backbone in uncleared:
        if backbone.backbone in needed or not _is_old(backbone, before):
            continue
        going.append(backbone)
        if backbone.retired_at is None:
            retire_tuned(db, backbone)
            for space in _spaces(backbone.backbone):
                _unset_space(db, project_id, space)
    return going


def _needed(db: Connection, project_id: int, before: float) -> set[str]:
    """The backbones of versions that are or may be served, and of a move under way."""
    project = get_project(db, project_id)
    assert project is not None, "projects are never forgotten"
    pending = {published.version_id for published in pending_publications(db, project_id)}
    versions = list_versions(db, project_id)
    served = next((each for each in versions if each.id == project.served_version_id), None)
    earlier = served_before(db, served) if served else None

    def is_needed(version: Version) -> bool:
        last_used = version.superseded_at or version.created_at
        return (
            version in (served, earlier)
            or version.id in pending
            or version.status == CANDIDATE
            or last_used >= before
        )

    spaces = {version.embedding_space for version in versions if is_needed(version)}
    spaces |= {space for space in (project.embedding_space, project.next_space) if space}
    return {backbone_of(space) for space in spaces} | {project.next_backbone or ""}


def _spaces(backbone: str) -> list[str]:
    return [f"{backbone}@{precision}" for precision in PRECISIONS]


def _unset_space(db: Connection, project_id: int, space: str) -> None:
    """Unset the space of its tasks: another fine-tuning may give the same space."""
    for column in (task.c.embedded_space, task.c.next_space):
        db.execute(
            update(task)
            .where(task.c.project_id == project_id, column == space)
            .values({column: None})
        )


def _clear(context: JobContext, backbone: FinetunedBackbone) -> None:
    store = context.store
    with store.database.read() as db:
        shared = is_shared(db, backbone)
    if not shared and not _delete(context, backbone.backbone):
        return
    store.database.write(lambda db: mark_cleared(db, backbone))
    log.info("fine-tuned backbone deleted", backbone=backbone.backbone[: len(TUNED) + 12])


def _delete(context: JobContext, backbone: str) -> bool:
    """Delete a backbone's embeddings, then its weights. Returns whether all is gone."""
    for space in _spaces(backbone):
        while context.store.embeddings.drop(space, BATCH) == BATCH:
            if context.seconds > TIME_BOX:
                return False
    delete_finetuned(context.store, backbone)
    return True


def _clear_orphans(context: JobContext, before: float) -> None:
    """Delete weights that no row names, left by a cancelled run or deleted elsewhere."""
    here = [name for name, at in local_finetuned(context.store.settings).items() if at < before]
    if not here:
        return
    for backbone in _unkept(context.store, here):
        if not _delete(context, backbone):
            return


def _unkept(store: Store, backbones: list[str]) -> list[str]:
    with store.database.read() as db:
        if _is_tuning(db):
            return []
        return [name for name in backbones if not is_kept(db, name.removeprefix(TUNED))]
