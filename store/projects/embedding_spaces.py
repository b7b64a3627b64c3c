"""A project's embedding space, and its move to another backbone's space.

A space is "FAMILY:MODEL@PRECISION", or "FAMILY:MODEL#WEIGHTS@PRECISION" where the name doesn't tell
the weights. While the next one is filled, everything is learned, suggested and served in the one in
use; a move ends in one transaction. A fine-tuned backbone is called `tuned:DIGEST`; the project
remembers beside it which pretrained one it stems from.
"""

import re
import time
from collections.abc import Collection, Mapping

from sqlalchemy import Connection, func, select, update

from store.database.chunks import chunks
from store.database.schema import task, version
from store.projects.projects import Project, change_project, get_project
from store.tasks.embedding_queue import any_to_embed
from store.tasks.space_role import SpaceRole
from store.tasks.units import TaskId, UnitId, item_of, task_of

TUNED = "tuned:"  # family of fine-tuned backbones
WEIGHTS = re.compile(r"#[0-9a-f]{12}$")  # which weights, where the name doesn't say it
RETRY_SECONDS = 600.0  # until a backbone that couldn't be opened is tried again

_NO_MOVE: Mapping[str, None] = dict.fromkeys(
    ("next_backbone", "next_space", "next_error", "next_retry_at")
)


def backbone_of(space: str) -> str:
    """The name of the backbone that computes a space's embeddings."""
    return WEIGHTS.sub("", space.rpartition("@")[0])


def pretrained_space(db: Connection, project_id: int, space: str, base: str) -> str:
    """The space of the pretrained backbone `base`, in the precision of a space that was tuned.

    The project's versions know the weights where the name doesn't tell them.
    """
    precision = space.rpartition("@")[2]
    newest_first = (
        select(version.c.embedding_space)
        .where(version.c.project_id == project_id)
        .group_by(version.c.embedding_space)
        .order_by(func.max(version.c.id).desc())
    )
    known = [
        found
        for found in db.execute(newest_first).scalars()
        if backbone_of(found) == base and found.rpartition("@")[2] == precision
    ]
    return known[0] if known else f"{base}@{precision}"


def is_tuned(backbone: str) -> bool:
    """Whether the backbone was fine-tuned here."""
    return backbone.startswith(TUNED)


def wanted_backbone(of: Project, default: str) -> str:
    """The pretrained backbone that the project is to use: a person's choice, or the settings'."""
    return of.backbone or default


def base_backbone(of: Project) -> str | None:
    """The pretrained backbone that the project uses; None before the first image."""
    if of.embedding_space is None:
        return None
    return of.base_backbone or backbone_of(of.embedding_space)


def move_is_due(of: Project, default: str) -> bool:
    """Whether a move of the project is to be begun, given up or tried again."""
    if of.embedding_space is None or of.held_at is not None:
        return False  # the first image settles it, or a person said what is served
    wanted = wanted_backbone(of, default)
    if of.next_backbone is not None and (is_tuned(of.next_backbone) or of.next_backbone == wanted):
        return of.next_error is not None and time.time() >= (of.next_retry_at or 0.0)
    return of.next_backbone is not None or base_backbone(of) != wanted


def choose_backbone(db: Connection, project_id: int, backbone: str | None) -> None:
    """Set the backbone that a person wants for the project; None for the settings' one.

    A move under way is given up. The embed job begins the one that is wanted now.
    """
    cancel_move(db, project_id)
    change_project(db, project_id, backbone=backbone)


def begin_move(db: Connection, project_id: int, backbone: str, space: str | None = None) -> None:
    """Begin a move to another backbone; a move under way is given up."""
    change_project(db, project_id, **{**_NO_MOVE, "next_backbone": backbone, "next_space": space})


def cancel_move(db: Connection, project_id: int) -> None:
    """Give up the move. The embeddings that were computed for it are kept."""
    change_project(db, project_id, **_NO_MOVE)


def fail_move(db: Connection, project_id: int, error: str) -> None:
    """Set why the next backbone can't be used now; it is tried again later."""
    change_project(db, project_id, next_error=error, next_retry_at=time.time() + RETRY_SECONDS)


def adopt_space(db: Connection, project_id: int, backbone: str, space: str) -> None:
    """Set the project's first embedding space."""
    change_project(db, project_id, embedding_space=space, base_backbone=backbone)


def return_to_space(
    db: Connection, project_id: int, space: str, base: str, embedded: Collection[UnitId]
) -> None:
    """Return to a space that was in use before; a move under way is given up.

    Args:
        embedded: the units whose images have embeddings in the space.
    """
    change_project(db, project_id, embedding_space=space, base_backbone=base, **_NO_MOVE)
    by_item: dict[int, list[TaskId]] = {}
    for unit in embedded:
        by_item.setdefault(item_of(unit), []).append(task_of(unit))
    for item, tasks in by_item.items():
        for ids in chunks(tasks):
            db.execute(
                update(task)
                .where(task.c.project_id == project_id, task.c.ls_id.in_(ids), task.c.item == item)
                .values(embedded_space=space)
            )


def finish_move(db: Connection, moved: Project) -> None:
    """End the move: the next space is in use. Images that it lacks are to be embedded again."""
    assert moved.next_backbone is not None, "only a move that began can end"
    assert moved.next_space is not None, "the next backbone was opened"
    db.execute(
        update(task)
        .where(task.c.project_id == moved.id, task.c.next_space == moved.next_space)
        .values(embedded_space=moved.next_space, next_space=None)
    )
    tuned = is_tuned(moved.next_backbone)
    change_project(
        db,
        moved.id,
        embedding_space=moved.next_space,
        base_backbone=base_backbone(moved) if tuned else moved.next_backbone,
        **_NO_MOVE,
    )


def move_is_still_wanted(db: Connection, began: Project) -> bool:
    """Whether the project still moves to the same space, and no person has chosen otherwise.

    It stays as it is until the transaction ends.
    """
    current = get_project(db, began.id, lock=True)
    return (
        current is not None and current.held_at is None and current.next_space == began.next_space
    )


def move_is_ready(db: Connection, of: Project) -> bool:
    """Whether every image that can be read now has an embedding in the next space."""
    if of.next_space is None or of.next_error is not None:
        return False
    return not any_to_embed(db, of.id, of.next_space, SpaceRole.NEXT)
