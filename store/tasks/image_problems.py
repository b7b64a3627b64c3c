"""What is wrong, or suspicious, with images: counted by kind."""

import re
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, and_, case, exists, func, or_, select

from store.database.schema import task
from store.tasks.units import FIRST, TaskId

LONGEST = 120  # characters of a kind
EXAMPLES = 3  # tasks

# What differs from image to image in a message: its details behind the first colon (but that of a
# scheme), a host that is its subject, texts in quotes, addresses, numbers that are no status.
_DETAILS = re.compile(r"(?<!data):(?! is not)(?:\s.*|$)", re.DOTALL)
_SUBJECT = re.compile(
    r"^(?!Label Studio)\S+(?= (?:answers|is (?:at|slow)|did not|sent no|can't be reached))"
)
_QUOTED = re.compile(r"""(?<!\w)(["'])(?:(?!\1(?!\w)).)*\1(?!\w)""")
_ADDRESS = re.compile(r"\[[0-9a-fA-F:.]+\]|\b[\w-]+(?:\.[\w-]+)+(?::\d+)?\b|\b[0-9a-f]*:[0-9a-f:]+")
_NUMBER = re.compile(r"(?<!answers )\b\d[\d.,]*\b")


def problem_kind(message: str) -> str:
    """The kind of a message about an image: the same for all images with the same problem."""
    text = _QUOTED.sub("…", message.strip())
    text = _DETAILS.sub("", text) or text
    text = _SUBJECT.sub("a server", text)
    for varying in (_ADDRESS, _NUMBER):
        text = varying.sub("…", text)
    return re.sub("…(?:, …)+", "…", text)[:LONGEST]


class ImageState(StrEnum):
    """The state of images with a problem."""

    UNUSABLE = "unusable"  # for good
    MISSING = "missing"  # the task's data hold none
    WAITING = "waiting"  # for the next try
    SUSPICIOUS = "suspicious"  # it is used


@dataclass(frozen=True)
class ImageProblem:
    """Images with the same problem: how many, the first tasks, and the message of the first."""

    state: ImageState
    kind: str
    images: int
    tasks: tuple[TaskId, ...]
    example: str


_STATE = case(
    (task.c.uri.is_(None), ImageState.MISSING),
    (task.c.image_error.is_not(None), ImageState.UNUSABLE),
    (task.c.retry_at.is_not(None), ImageState.WAITING),
    else_=ImageState.SUSPICIOUS,
)
_MESSAGE = func.coalesce(task.c.image_error, task.c.image_note, task.c.image_problem, "")
_KIND = func.coalesce(task.c.image_problem, task.c.image_error, "")
_ANY = or_(task.c.image_problem.is_not(None), task.c.image_error.is_not(None), task.c.uri.is_(None))


def image_problems(db: Connection, project_id: int) -> list[ImageProblem]:
    """The problems of a project's images, those of most images first."""
    of_project = and_(task.c.project_id == project_id, task.c.deleted_at.is_(None), _ANY)
    groups = db.execute(
        select(_STATE, _KIND, func.count(), func.min(task.c.ls_id))
        .where(of_project)
        .group_by(_STATE, _KIND)
    )
    problems = []
    for state, kind, images, first in sorted(groups, key=lambda row: (-row[2], row[0], row[1])):
        rows = db.execute(
            select(task.c.ls_id, _MESSAGE)
            .where(of_project, task.c.ls_id >= first, state == _STATE, kind == _KIND)
            .order_by(task.c.ls_id, task.c.item)
            .limit(EXAMPLES)
        ).all()
        problems.append(
            ImageProblem(
                ImageState(state),
                problem_kind(kind),  # of a version that noted no kind
                images,
                tuple(dict.fromkeys(TaskId(row[0]) for row in rows)),
                str(rows[0][1]),
            )
        )
    return problems


def any_usable_image(db: Connection, project_id: int, *, labelled: bool) -> bool:
    """Whether any task, or any with a usable label, has an image that can be used, for all we know.

    An image that was not tried yet counts, one that waits for another try doesn't.
    """
    query = select(task.c.id).where(
        task.c.project_id == project_id,
        task.c.deleted_at.is_(None),
        task.c.uri.is_not(None),
        task.c.image_error.is_(None),
        or_(task.c.retry_at.is_(None), task.c.image_key.is_not(None)),
    )
    if labelled:
        first = task.alias()
        query = query.where(
            exists().where(
                first.c.project_id == task.c.project_id,
                first.c.ls_id == task.c.ls_id,
                first.c.item == FIRST,
                first.c.labelled.is_(True),
            )
        )
    return db.execute(query.limit(1)).first() is not None
