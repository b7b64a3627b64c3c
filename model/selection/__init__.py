"""Chooses the images to label next. A strategy is one file here, registered in `STRATEGIES`."""

from model.selection.auto import NAME as AUTO
from model.selection.registry import Pick, Pool
from model.selection.shortlists import (
    ShortlistRequest,
    cold_start,
    finite_rows,
    rows_by,
    shortlist,
)

__all__ = [
    "AUTO",
    "Pick",
    "Pool",
    "ShortlistRequest",
    "cold_start",
    "finite_rows",
    "rows_by",
    "shortlist",
]
