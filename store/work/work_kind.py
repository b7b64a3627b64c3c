"""The kinds of work that jobs do for a project."""

from enum import StrEnum


class WorkKind(StrEnum):
    """A kind of work; the queue of its jobs has the same name."""

    SYNC = "sync"  # read Label Studio's tasks and annotations
    EMBED = "embed"  # compute embeddings of images
    LEARN = "learn"  # fit heads and choose what is labelled next
    PUBLISH = "publish"  # carry predictions to Label Studio
    FINETUNE = "finetune"  # tune the backbone
    PREDICT = "predict"  # ask guest models for suggestions, before anybody needs them
    GUEST = "guest"  # train guest models


GUEST_WORK = frozenset({WorkKind.PREDICT, WorkKind.GUEST})  # done only where there are guests
