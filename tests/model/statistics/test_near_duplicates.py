"""Near-duplicate groups: chains of like images, and many images of one scene."""

import time

import numpy as np

from model.statistics.near_duplicates import near_duplicate_groups


def test_images_are_tied_together_directly_and_by_a_chain() -> None:
    angles = np.array([0.0, 2.0, 0.06, 0.12, 2.05, 1.0])  # cos 0.07 is just near enough
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    groups = near_duplicate_groups(x, ["a", "b", "c", "d", "e", "b"]).tolist()

    assert groups == [0, 1, 0, 0, 1, 1]


def test_thousands_of_images_of_one_scene_are_tied_together_in_no_time() -> None:
    began = time.perf_counter()
    groups = near_duplicate_groups(np.ones((3000, 64)), [str(row) for row in range(3000)])

    assert not groups.any()
    assert time.perf_counter() - began < 5  # by pairs it took 13 s
