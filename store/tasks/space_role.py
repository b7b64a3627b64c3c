"""The roles of embedding spaces in a project."""

from enum import Enum, auto


class SpaceRole(Enum):
    """The role of an embedding space in a project."""

    IN_USE = auto()  # everything is learned, suggested and served in it
    NEXT = auto()  # the project moves to it
    ASIDE = auto()  # its embeddings are only kept: no task's row says that it has one
