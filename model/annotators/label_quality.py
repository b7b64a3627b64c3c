"""Label quality: the probability that an out-of-fold model gives to a label.

The quality of a label is the calibrated probability that an out-of-fold model gives to it: what
cleanlab calls self-confidence (Kuan, Mueller: Model-agnostic label quality scoring to detect
real-world label errors, ICML DataPerf workshop 2022). Features must be those of a backbone that has
not seen the labels: a fine-tuned one has learned the wrong ones too.
"""

import numpy as np

from model.arrays import Float64s, Floats, Indices, Ints

# Labels of less quality are worth a second look. Of 1,000 labels of which 50 were made wrong, it
# lists 54 of digits (84% of those are wrong: 91% of all wrong ones) and 23 of textiles (100%; 46%);
# of 300 labels with 15 wrong ones, 18 (70%; 85%) and 6 (97%; 37%). At twice this, of 1,000 labels
# 95% and 56% of the wrong ones are listed, among more right ones (76% and 98% of what is listed is
# wrong). Confident learning's cut-off lists 185 of 1,000 textiles, and 158 when all are right: the
# model is weak there. From benchmarks/learning/label_quality.py, means of five seeds.
DOUBTFUL = 0.05


def label_quality(probabilities: Floats, y: Ints) -> Float64s:
    """[N] quality, 0 to 1, of labels y [N] by out-of-fold probabilities [N, C].

    NaN where the probability is exactly 0: no other fold has the class, so nothing is known of it.
    """
    quality = probabilities[np.arange(len(y)), y].astype(np.float64)
    return np.where(quality > 0, quality, np.nan)


def label_quality_by_class(probabilities: Floats, y: Floats) -> Float64s:
    """[N] quality, 0 to 1, of labels y [N, C] of 0 and 1: that of the least likely class.

    `probabilities` [N, C] are out of fold. A class of which the label says nothing (NaN) isn't
    counted, nor one that is given and has exactly 0: no other fold has it. NaN where none is left.
    """
    given = np.where(y == 1, probabilities, 1 - probabilities).astype(np.float64)
    given[np.isnan(y) | ((y == 1) & (probabilities == 0))] = np.inf
    least = given.min(axis=1, initial=np.inf)
    return np.where(np.isfinite(least), least, np.nan)


def doubtful(quality: Floats) -> Indices:
    """The rows of `quality` [N] that are worth a second look, the worst first."""
    rows = np.flatnonzero(quality < DOUBTFUL)
    worst_first: Indices = rows[np.argsort(quality[rows], kind="stable")]
    return worst_first
