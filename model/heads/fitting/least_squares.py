"""Ridge regression in closed form, its strength chosen by leaving out each row in turn.

One decomposition of the rows' second moment gives the solution and every row's left-out residual
at every penalty: Golub, Heath, Wahba, Generalized cross-validation, Technometrics 1979; for whole
groups that are left out at once, the same identity with a block of the hat matrix.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.arrays import Float32s, Float64s, Indices

# Strong to weak, for rows whose total variance is one and the mean squared error of a row.
PENALTIES: tuple[float, ...] = tuple(10.0 ** (-step / 2) for step in range(-4, 11))
# Where nothing can be left out.
PRESUMED = 0.1


@dataclass(frozen=True)
class Ridge:
    """A fitted ridge regression on coordinates."""

    w: Float64s  # [r + 1, C], the last row the bias
    penalty: float
    left_out: Float64s  # [n, C], what each row gets when its group is left out; NaN if it can't be


def fit_ridge(
    z: Float32s,
    targets: Float64s,
    weight: Float32s,
    groups: NDArray[np.generic],
    *,
    penalty: float | None = None,
) -> Ridge:
    """Least squares for targets [n, C] of coordinates z [n, r], rows as heavy as `weight` [n].

    The mean weighted squared error of a row + `penalty` · ‖W‖², the bias unpenalised. Without
    `penalty`, the one of PENALTIES with the least error on rows whose group was left out.
    """
    share = weight.astype(np.float64) / weight.sum(dtype=np.float64)
    centre, target_centre = share @ z, share @ targets
    centred = z - centre
    variances, axes = np.linalg.eigh((centred * share[:, None]).T @ centred)
    rotated = centred @ axes
    moments = (rotated * share[:, None]).T @ (targets - target_centre)  # [r, C]
    shared = _shared_groups(groups)

    def leave_out(penalty: float) -> Float64s:
        shrunk = rotated / (np.maximum(variances, 0) + penalty)
        residuals = targets - target_centre - shrunk @ moments
        leverage = share * (1 + np.einsum("nr,nr->n", rotated, shrunk))
        with np.errstate(divide="ignore", invalid="ignore"):
            left = residuals / (1 - leverage)[:, None]
        for rows in shared:
            if len(rows) == len(targets):
                left[rows] = np.nan
                continue
            hat = (1 + shrunk[rows] @ rotated[rows].T) * share[rows]
            left[rows] = np.linalg.solve(np.eye(len(rows)) - hat, residuals[rows])
        out: Float64s = targets - left
        return out if len(targets) > 1 else np.full_like(targets, np.nan)

    if penalty is None:
        errors = [share @ np.square(targets - leave_out(tried)) for tried in PENALTIES]
        totals = np.sum(errors, axis=1)
        penalty = PRESUMED if np.isnan(totals).any() else PENALTIES[int(np.argmin(totals))]
    weights = axes @ (moments / (np.maximum(variances, 0) + penalty)[:, None])
    bias = target_centre - centre @ weights
    return Ridge(np.concatenate([weights, bias[None]]), penalty, leave_out(penalty))


def _shared_groups(groups: NDArray[np.generic]) -> list[Indices]:
    """The rows of each group that has more than one."""
    _, group = np.unique(groups, return_inverse=True)
    order = np.argsort(group, kind="stable")
    ends = np.cumsum(np.bincount(group))
    return [rows for rows in np.split(order, ends[:-1]) if len(rows) > 1]
