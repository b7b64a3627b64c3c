"""Measures the calibration error of heads on 200 labels, before and after calibration.

    python -m benchmarks.learning.calibration [--seeds 5]

Needs the extras `worker` and `dev`. EfficientNet-Lite0 embeddings of the 2,000 textile images
(three classes) and of scikit-learn's digits (ten classes, enlarged). The bars: at most 0.05 after,
and never more than 0.01 above what it was before.
"""

import argparse
import platform

import numpy as np

from benchmarks.heads import digits, embeddings, textiles
from model.evaluation.cross_validation import out_of_fold_logits
from model.heads import FitData, fit
from model.statistics.calibration import calibration_error, fit_temperature, softmax

LABELS = 200
BAR_AFTER, BAR_WORSE = 0.05, 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    print(f"{platform.platform()}; numpy {np.__version__}; {seeds} seeds, {LABELS} labels")
    for name, dataset in (("textiles", textiles), ("digits", digits)):
        images, y = dataset()
        x = embeddings(images)
        classes = tuple(str(c) for c in range(int(y.max()) + 1))
        found = []
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(len(y))
            known, rest = order[:LABELS], order[LABELS:]
            head = fit(FitData.of(x[known], y[known], classes, seed=seed))
            logits = out_of_fold_logits(
                FitData.of(x[known], y[known], classes, groups=known, seed=seed)
            )
            temperature = fit_temperature(logits, y[known])
            outputs = head.logits(x[rest])
            right = outputs.argmax(axis=1) == y[rest]
            before, after = (
                calibration_error(softmax(outputs, temperature=t).max(axis=1), right)
                for t in (1.0, temperature)
            )
            found.append((before, after))
            print(
                f"{name}, seed {seed}: right on {right.mean():.1%} of {len(rest)}, temperature "
                f"{temperature:.2f}, error {before:.3f} before, {after:.3f} after",
                flush=True,
            )
        worst = max(after for _, after in found)
        grown = max(after - before for before, after in found)
        print(
            f"{name}: at most {worst:.3f} after (bar {BAR_AFTER}), at most {grown:+.3f} against "
            f"before (bar +{BAR_WORSE})"
        )


if __name__ == "__main__":
    main()
