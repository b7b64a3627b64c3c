"""Shortlists of bare arrays, for tests of what is chosen."""

from typing import Any

from model.arrays import Floats
from model.selection import Pick, Pool, ShortlistRequest
from model.selection import cold_start as cold_start_of
from model.selection import shortlist as shortlist_of


def cold_start(x: Floats, size: int, *, seed: int, **request: Any) -> list[Pick]:
    """The images [N, D] to label first."""
    return cold_start_of(Pool(x, (), seed), ShortlistRequest(size, **request))


def shortlist(
    x: Floats, probabilities: Floats | tuple[Floats, ...], size: int, *, seed: int, **request: Any
) -> list[Pick]:
    """The images [N, D] to label next, by their probabilities [N, C], one array a control."""
    controls = probabilities if isinstance(probabilities, tuple) else (probabilities,)
    return shortlist_of(Pool(x, controls, seed), ShortlistRequest(size, **request))
