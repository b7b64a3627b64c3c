from collections.abc import Iterator

import pytest

from store.predictions.guest_predictions import GuestPrediction, GuestPredictions
from store.store import Store


@pytest.fixture
def predictions(store: Store) -> Iterator[GuestPredictions]:
    opened = GuestPredictions(store.settings)
    yield opened
    opened.close()


def test_a_suggestion_is_of_one_model_and_one_state_of_the_task(
    predictions: GuestPredictions,
) -> None:
    data = {1: {"image": "a"}, 2: {"image": "b"}}
    given = GuestPrediction([{"from_name": "box"}], 0.25)
    predictions.put(7, "sam", "model-1", data, {1: given, 2: GuestPrediction([], None)})
    assert predictions.get(7, "sam", "model-1", data) == {1: given, 2: GuestPrediction([], None)}
    assert predictions.seen(7, "sam", "model-1", {1: {"image": "other"}, 2: {"image": "b"}}) == {2}
    assert predictions.get(7, "sam", "model-1", {1: {"image": "other"}}) == {}
    assert predictions.get(7, "sam", "model-2", data) == {}
    assert predictions.get(8, "sam", "model-1", data) == {}
    assert predictions.get(7, "yolo", "model-1", data) == {}


def test_a_newer_suggestion_replaces_an_older_one(predictions: GuestPredictions) -> None:
    data = {1: {"image": "a"}}
    predictions.put(7, "sam", "model-1", data, {1: GuestPrediction([], 0.1)})
    predictions.put(7, "sam", "model-2", data, {1: GuestPrediction([], 0.2)})
    assert predictions.seen(7, "sam", "model-1", data) == set()
    assert predictions.get(7, "sam", "model-2", data) == {1: GuestPrediction([], 0.2)}
