import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.guests.answers import (
    MOST_REGIONS,
    GuestSuggestion,
    WrongAnswerError,
    read_answer,
    reasons_of,
)

BOX = {"from_name": "box", "to_name": "image", "type": "rectanglelabels", "value": {"x": 1.5}}


def of_one(entry: Any) -> GuestSuggestion:
    [suggestion] = read_answer([entry], 1, {"box"})
    return suggestion


@pytest.mark.parametrize(
    "answer",
    [
        [{"result": [BOX], "score": 0.5}],
        [[{"result": [BOX], "score": 0.5}, {"result": []}]],
        {"predictions": [{"result": [BOX], "score": 0.5}], "model_version": "1"},
        {"result": [BOX], "score": 0.5},
    ],
)
def test_every_form_of_an_answer_is_read(answer: Any) -> None:
    assert read_answer(answer, 1, {"box"}) == [GuestSuggestion((BOX,), 0.5)]


def test_an_empty_list_suggests_nothing() -> None:
    assert read_answer([], 3, {"box"}) == [GuestSuggestion(())] * 3


@pytest.mark.parametrize("answer", [None, 5, "text", [{"result": []}] * 2, {"a": 1}])
def test_an_answer_that_fits_no_task_is_refused(answer: Any) -> None:
    with pytest.raises(WrongAnswerError, match="predict returned"):
        read_answer(answer, 3, {"box"})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"from_name": "other"}, "from_name is 'other'"),
        ({"from_name": None}, "from_name is None"),
        ({"to_name": None}, "has no to_name"),
        ({"type": 5}, "has no type"),
        ({"value": "a"}, "a str, not an object"),
        ({"score": math.nan}, "score of 'box' is nan"),
        ({"score": 10**400}, "score of 'box' is 1000"),
        ({"score": "high"}, "score of 'box' is 'high'"),
        ({"value": {"x": math.inf}}, "isn't finite"),
        ({"value": {"points": [[1, math.nan]]}}, "isn't finite"),
    ],
)
def test_a_wrong_region_is_left_out_and_the_others_stay(change: Any, reason: str) -> None:
    suggestion = of_one({"result": [BOX | change, BOX]})
    assert suggestion.regions == (BOX,)
    assert reason in reasons_of([suggestion])[0]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (None, "is missing"),
        ({"result": None}, "result is missing"),
        ({}, "result is missing"),
        ({"result": [BOX] * (MOST_REGIONS + 1)}, "10,001 regions"),
        ({"result": [BOX | {"value": {"rle": [0] * 5_000_001}}]}, "more than 5,000,000 values"),
    ],
)
def test_a_wrong_prediction_is_nothing(entry: Any, reason: str) -> None:
    suggestion = of_one(entry)
    assert suggestion.regions == ()
    assert reason in suggestion.reasons[0]


@pytest.mark.parametrize("score", [math.nan, 1.5, -0.1, "0.5", True])
def test_a_wrong_score_costs_no_region(score: Any) -> None:
    suggestion = of_one({"result": [BOX], "score": score})
    assert (suggestion.regions, suggestion.score) == ((BOX,), None)
    assert "score" in suggestion.reasons[0]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["result", "predictions", "from_name", "to_name", "type", "value"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(JSON, st.integers(1, 3))
def test_whatever_a_guest_returns_is_an_answer_or_refused(answer: Any, tasks: int) -> None:
    try:
        suggestions = read_answer(answer, tasks, {"box"})
    except WrongAnswerError:
        return
    assert len(suggestions) == tasks
    assert all(region["from_name"] == "box" for each in suggestions for region in each.regions)
