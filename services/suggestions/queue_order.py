"""Prediction scores: the order in which Label Studio hands out tasks."""

PLACES = 1_000  # in the shortlist, which take half of its range of scores


def shortlist_score(place: int) -> float:
    """Label Studio's score for a place in the shortlist: the lowest comes first. In [0, 0.5).

    There is room for more behind every place, since a version's list may be filled up often.
    """
    return 0.5 * (place + 1) / (place + 1 + PLACES)


def place_after(score: float) -> int:
    """A place in the shortlist that comes after a score in [0, 0.5), and hardly more."""
    return round(score * PLACES / max(0.5 - score, 1e-9))


def rest_score(confidence: float) -> float:
    """Label Studio's score for all other tasks, after the shortlist. In [0.5, 1]."""
    return 0.5 + 0.5 * min(max(confidence, 0.0), 1.0)


def is_listed(score: float) -> bool:
    """Whether a score is one of the shortlist's."""
    return score < rest_score(0.0)
