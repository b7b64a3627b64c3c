"""Data sets of the strategies' benchmarks: features of images, and classes.

A module a kind of source; `python -m benchmarks.selection.datasets` prints the table of all.
"""

from benchmarks.selection.datasets.catalogue import DEVELOP, KEPT_ASIDE, NAMES, load
from benchmarks.selection.datasets.dataset import Dataset, split

__all__ = ["DEVELOP", "KEPT_ASIDE", "NAMES", "Dataset", "load", "split"]
