"""The audit of a model's accuracy: what is known is counted, what is predicted is used."""

import numpy as np
import pytest

from model.active_learning.accuracy_audit import Draws, LabelledImages, audit

NONE = np.zeros(0)


def labelled(right: np.ndarray, confidence: float = 0.9) -> LabelledImages:
    return LabelledImages(right.astype(float), np.full(len(right), confidence))


def test_what_was_labelled_before_each_draw_is_counted() -> None:
    # 100 images, 40 labelled, 5 of the first 20 right; then 20 are drawn, all of them right.
    right = np.concatenate([np.arange(20) < 5, np.ones(20, np.bool_)])
    draws = Draws(np.arange(20, 40), np.full(20, 20))
    found = audit(draws, labelled(right), np.full(60, 0.9), open_images=60)
    assert found.everything.n == 20
    assert found.everything.value == pytest.approx((5 + 80) / 100)
    assert found.rest is not None
    assert found.rest.value == pytest.approx((85 - 25) / 60)
    assert found.rest.low <= found.rest.value <= found.rest.high == 1
    assert 0.25 < found.everything.low < found.everything.high == 0.85


def test_all_images_labelled_leave_nothing_open() -> None:
    right = np.arange(40) < 30
    found = audit(Draws(np.arange(20, 40), np.full(20, 20)), labelled(right), NONE, open_images=0)
    assert found.rest is None
    assert found.everything.low == found.everything.value == found.everything.high == 0.75


@pytest.mark.parametrize("picks", [0, 1, 2])
@pytest.mark.parametrize("pool", [NONE, np.full(5, np.nan), np.linspace(0.3, 1, 50)])
def test_a_few_picks_leave_most_open(picks: int, pool: np.ndarray) -> None:
    right = np.ones(10, np.bool_)
    draws = Draws(np.arange(10 - picks, 10), np.full(picks, 10 - picks))
    found = audit(draws, labelled(right, np.nan), pool, open_images=90)
    assert found.everything.n == picks
    assert 0.1 <= found.everything.low < 0.6
    assert found.everything.high == 1
    assert found.rest is not None
    assert found.rest.low < 0.55
    assert found.rest.high == 1


def test_a_part_of_the_open_images_stands_for_all() -> None:
    rng = np.random.default_rng(0)
    sure = np.linspace(0.5, 1, 3_000)
    right = rng.random(60) < 0.8
    images = LabelledImages(right.astype(float), rng.uniform(0.5, 1, 60))
    draws = Draws(np.arange(20, 60), np.repeat([20, 40], 20))
    whole = audit(draws, images, sure, open_images=3_000)
    part = audit(draws, images, sure[::3], open_images=3_000)
    assert part.everything.value == pytest.approx(whole.everything.value, abs=0.01)
    assert part.everything.low == pytest.approx(whole.everything.low, abs=0.01)


def one_project(seed: int, sharpness: float) -> tuple[bool, float]:
    """Whether the interval covers the truth, and its width, in a project labelled by difficulty.

    Of 600 images the least sure ones are chosen, ten at a time, and two are drawn.
    """
    rng = np.random.default_rng(seed)
    probability = rng.beta(6, 0.8, 600)
    right = rng.random(600) < probability
    order: list[int] = []
    rows: list[int] = []
    before: list[int] = []
    for _ in range(13):
        left = np.setdiff1d(np.arange(600), order)
        taken = rng.choice(left, 2, replace=False)
        rows += [len(order), len(order) + 1]
        before += [len(order)] * 2
        others = np.setdiff1d(left, taken)
        order += [*taken.tolist(), *others[np.argsort(probability[others])[:8]].tolist()]
    odds = (probability / (1 - probability + 1e-9)) ** sharpness
    sure = odds / (1 + odds)
    left = np.setdiff1d(np.arange(600), order)
    images = LabelledImages(right[order].astype(float), sure[order])
    draws = Draws(np.array(rows), np.array(before))
    found = audit(draws, images, sure[left], open_images=len(left)).everything
    return bool(found.low <= right.mean() <= found.high), found.high - found.low


def test_projects_are_covered_however_good_the_confidence_is() -> None:
    good, boasting = (
        [one_project(seed, sharpness) for seed in range(40)] for sharpness in (1.0, 4.0)
    )
    assert sum(covered for covered, _ in good) >= 37
    assert sum(covered for covered, _ in boasting) >= 36
    assert np.median([width for _, width in good]) < 0.26
