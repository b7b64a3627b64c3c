"""The reasons for which predictions are pushed to Label Studio."""

from enum import StrEnum


class PublicationReason(StrEnum):
    """The reason for a publication."""

    VERSION = "version"  # a new version, which is served once all of it is pushed
    REST = "rest"  # the rest of its shortlist, which may wait: a newer version may come first
    REFILL = "refill"  # more tasks for the shortlist of the served version
    REFRESH = "refresh"  # tasks that show an older version's prediction
    PENDING_ANSWER = "owed"  # tasks whose prediction was not ready, or not whole
    APPLY = "apply"  # tasks that a person asked to have labelled in bulk
