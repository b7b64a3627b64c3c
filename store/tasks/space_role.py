"""What an embedding space is to a project."""

from enum import Enum, auto


class SpaceRole(Enum):
    """What a space that embeddings are computed in is to a project."""

    IN_USE = auto()  # everything is learned, suggested and served in it
    NEXT = auto()  # the project moves to it
    ASIDE = auto()  # its embeddings are only kept: no task's row says that it has one
