"""Bounds that hold at every look, and what may be accepted by them."""

import time

import numpy as np
import pytest

from model.active_learning.auto_accept import EACH, FAILED, FEW, ON, Audited, decide
from model.statistics.confidence_sequences import (
    items_needed,
    lower_bound,
    upper_bound,
    upper_bound_is_below,
)


def answers(wrong: int, total: int) -> np.ndarray:
    values = np.zeros(total)
    values[:wrong] = 1
    return values


def test_a_bound_depends_on_the_values_alone_and_tightens_with_more() -> None:
    values = answers(3, 60)
    mixed = np.random.default_rng(0).permutation(values)
    assert upper_bound(values, alpha=0.05) == upper_bound(mixed, alpha=0.05)
    assert lower_bound(values, alpha=0.05) < 0.05 < upper_bound(values, alpha=0.05)
    wide, narrow = (upper_bound(answers(n // 20, n), alpha=0.05) for n in (60, 600))
    assert 0.05 < narrow < wide < 0.25


def test_of_nothing_everything_is_possible() -> None:
    assert (lower_bound(np.zeros(0), alpha=0.05), upper_bound(np.zeros(0), alpha=0.05)) == (0, 1)


@pytest.mark.parametrize(("target", "least"), [(0.05, 59), (0.02, 149), (0.01, 299)])
def test_no_error_takes_a_few_more_items_than_a_single_look_would(
    target: float, least: int
) -> None:
    needed = items_needed(target, 0.05)
    assert least < needed < 1.2 * least
    assert upper_bound_is_below(np.zeros(needed), target, alpha=0.05)
    assert not upper_bound_is_below(np.zeros(needed - 1), target, alpha=0.05)


def test_a_tiny_target_is_answered_at_once() -> None:
    began = time.monotonic()
    needed = items_needed(1e-6, EACH)
    assert time.monotonic() - began < 1
    assert upper_bound(np.zeros(needed), alpha=EACH) <= 1.2e-6
    assert 3.6e6 < needed < 4.5e6


def test_looking_after_every_item_rarely_misleads() -> None:
    rng = np.random.default_rng(1)
    misled = 0
    for _ in range(100):
        wrong = rng.random(300) < 0.1
        misled += any(upper_bound_is_below(wrong[:n], 0.1, alpha=0.05) for n in range(1, 301))
    assert misled <= 9  # 5 are expected at most; 10 and more come once in 35 times


def audited(confidence: np.ndarray, wrong: np.ndarray, group: str = "a") -> Audited:
    return Audited(confidence, wrong.astype(bool), np.full(len(wrong), group))


def test_the_loosest_threshold_that_keeps_the_target_is_taken() -> None:
    confidence = np.concatenate([np.full(150, 0.995), np.full(150, 0.92), np.full(100, 0.7)])
    wrong = np.zeros(400)
    wrong[300::2] = 1
    rule = decide(audited(confidence, wrong), 0.05)
    assert (rule.state, rule.threshold, rule.audited, rule.wrong) == (ON, 0.8, 300, 0)
    assert rule.bound is not None
    assert rule.bound <= 0.05
    taken = rule.takes(np.array([0.99, 0.85, 0.75, np.nan]), np.array(["a", "b", "a", "a"]))
    assert taken.tolist() == [True, True, False, False]


def test_too_few_picks_accept_nothing() -> None:
    needed = items_needed(0.05, EACH)
    for count, state in ((0, FEW), (needed - 1, FEW), (needed, ON)):
        rule = decide(audited(np.full(count, 0.99), np.zeros(count)), 0.05)
        assert (rule.state, rule.needed) == (state, needed)
        assert rule.takes(np.array([1.0]), np.array(["a"])).any() == (state == ON)


def test_errors_among_the_surest_end_it() -> None:
    wrong = answers(30, 300)
    rule = decide(audited(np.full(300, 0.99), wrong), 0.05)
    assert (rule.state, rule.wrong, rule.rate) == (FAILED, 30, 0.1)
    assert not rule.takes(np.array([1.0]), np.array(["a"])).any()


def test_what_was_taken_stays_as_far_as_the_picks_keep_the_target() -> None:
    confidence = np.repeat([0.995, 0.92], 150)
    for wrong, stays in ((0, 0.0), (12, 0.0), (30, 0.95)):
        rule = decide(
            audited(confidence, np.concatenate([np.zeros(150), answers(wrong, 150)])), 0.05
        )
        assert (rule.state, rule.stays) == (ON, stays)
    rule = decide(audited(confidence, np.concatenate([answers(30, 150), np.zeros(150)])), 0.05)
    assert (rule.state, rule.stays) == (FAILED, np.inf)


def test_a_class_that_is_worse_than_the_target_is_left_out() -> None:
    good, bad = audited(np.full(500, 0.99), np.zeros(500)), answers(4, 10)
    both = Audited(
        np.full(510, 0.99),
        np.concatenate([good.wrong, bad.astype(bool)]),
        np.concatenate([good.group, np.full(10, "rare")]),
    )
    rule = decide(both, 0.05)
    assert (rule.state, rule.excluded) == (ON, ("rare",))
    assert rule.takes(np.array([1.0, 1.0]), np.array(["a", "rare"])).tolist() == [True, False]
