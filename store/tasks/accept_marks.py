"""Marks annotations that are suggestions accepted without a person looking at them.

The mark is in Label Studio itself, in the ids of the annotation's regions, so that it is known
whatever happens to our tables. Such an annotation is no label: nothing is learned or measured by
it. Once a person has changed or confirmed it, it is theirs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

# A region's id begins with this.
MARK = "apprentice-"
# Seconds between making and changing: Label Studio sets both times when it saves a new annotation.
UNTOUCHED = 5.0


def marked(result: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The regions with the mark, and without scores, as a person's regions have none."""
    return [
        {name: value for name, value in region.items() if name != "score"}
        | {"id": f"{MARK}{index}"}
        for index, region in enumerate(result)
    ]


def is_accepted(result: Sequence[Mapping[str, Any]], created_at: float, updated_at: float) -> bool:
    """Whether an annotation is an accepted suggestion that no person has touched since."""
    if not result or updated_at - created_at > UNTOUCHED:
        return False
    return all(str(region.get("id", "")).startswith(MARK) for region in result)


def began_accepted(result: Sequence[Mapping[str, Any]]) -> bool:
    """Whether an annotation was an accepted suggestion at first, touched by a person or not."""
    return any(str(region.get("id", "")).startswith(MARK) for region in result)
