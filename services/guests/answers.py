"""Checks a guest's answers: what Label Studio would choke on becomes a reason, not an error."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_REGIONS = 10_000  # of one task
MOST_VALUES = 5_000_000  # numbers and texts in one task's answer; a mask has a million
DEEPEST = 20  # lists within lists
LARGEST = 1e15  # of a number that counts something


class WrongAnswerError(Exception):
    """A guest's answer as a whole is of no use; the message says why."""


@dataclass(frozen=True)
class GuestSuggestion:
    """A guest's suggestion for one task.

    Attributes:
        regions: Label Studio's JSON of each.
        score: how sure the guest is, in [0, 1]; None where it doesn't say.
        reasons: what is wrong with the answer; the regions meant by that are left out.
    """

    regions: tuple[dict[str, Any], ...]
    score: float | None = None
    reasons: tuple[str, ...] = ()


def read_answer(answer: Any, tasks: int, controls: set[str]) -> list[GuestSuggestion]:
    """One suggestion for each of `tasks` tasks, in order.

    Args:
        answer: what the guest's `predict` returned, as JSON.
        controls: the names of the label config's controls that the guest may answer.

    Raises:
        WrongAnswerError: it can't be said which entry belongs to which task.
    """
    if isinstance(answer, Mapping):
        answer = answer.get("predictions", answer.get("results", answer))
    if isinstance(answer, Mapping) and "result" in answer and tasks == 1:
        answer = [answer]
    if not isinstance(answer, list):
        kind = "None" if answer is None else f"a {type(answer).__name__}"
        raise WrongAnswerError(f"predict returned {kind}, not a list of predictions")
    if not answer:  # how label-studio-ml's own examples say that they suggest nothing
        return [GuestSuggestion(())] * tasks
    if len(answer) != tasks:
        raise WrongAnswerError(f"predict returned {len(answer)} predictions for {tasks} tasks")
    return [_suggestion(entry, controls) for entry in answer]


def _suggestion(entry: Any, controls: set[str]) -> GuestSuggestion:
    if isinstance(entry, list):  # several predictions: Label Studio shows the first
        entry = entry[0] if entry else {"result": []}
    if not isinstance(entry, Mapping):
        return _nothing(f"a prediction is {_kind(entry)}, not an object")
    result = entry.get("result")
    if not isinstance(result, list):
        return _nothing(f"a prediction's result is {_kind(result)}, not a list")
    if len(result) > MOST_REGIONS:
        return _nothing(f"a prediction has {len(result):,} regions, at most {MOST_REGIONS:,} count")
    if sum(map(_size, result)) > MOST_VALUES:
        return _nothing(f"a prediction has more than {MOST_VALUES:,} values")
    regions, reasons = [], []
    for region in result:
        reason = _wrong(region, controls)
        if reason is None:
            regions.append(dict(region))
        else:
            reasons.append(reason)
    score = entry.get("score")
    if score is not None and not _is_share(score):
        reasons.append(f"a prediction's score is {_shown(score)}, not a number from 0 to 1")
        score = None
    return GuestSuggestion(tuple(regions), score, tuple(dict.fromkeys(reasons)))


def _nothing(reason: str) -> GuestSuggestion:
    return GuestSuggestion((), None, (reason,))


def _wrong(region: Any, controls: set[str]) -> str | None:
    """What is wrong with a region; None when Label Studio can show it."""
    if not isinstance(region, Mapping):
        return f"a region is {_kind(region)}, not an object"
    name = region.get("from_name")
    if not isinstance(name, str) or name not in controls:
        known = ", ".join(sorted(controls))
        return f"a region's from_name is {_shown(name)}; the guest's controls are: {known}"
    for key in ("to_name", "type"):
        if not isinstance(region.get(key), str):
            return f"a region of {name!r} has no {key}"
    if not isinstance(region.get("value"), Mapping):
        return f"a region's value of {name!r} is {_kind(region.get('value'))}, not an object"
    score = region.get("score")
    if score is not None and not _is_number(score):
        return f"a region's score of {name!r} is {_shown(score)}, not a number"
    if not _is_finite(region):
        return f"a region of {name!r} has a number that isn't finite"
    return None


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return -LARGEST < value < LARGEST if isinstance(value, int | float) else False


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _children(value: Any) -> Collection[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list) else ()


def _is_finite(value: Any, depth: int = 0) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    children = _children(value)
    kinds = set(map(type, children))
    if kinds <= {int}:  # a mask: a million of them
        return True
    if kinds == {float}:
        return all(map(math.isfinite, children))
    return depth < DEEPEST and all(_is_finite(child, depth + 1) for child in children)


def _size(value: Any, depth: int = 0) -> int:
    if depth >= DEEPEST:
        return MOST_VALUES + 1
    children = _children(value)
    if set(map(type, children)) <= {int, float}:
        return 1 + len(children)
    return 1 + sum(_size(child, depth + 1) for child in children)


def _kind(value: Any) -> str:
    return "missing" if value is None else f"a {type(value).__name__}"


def _shown(value: Any) -> str:
    return repr(value)[:60]


def reasons_of(suggestions: Sequence[GuestSuggestion]) -> list[str]:
    """All reasons, each once, in order."""
    return list(dict.fromkeys(reason for each in suggestions for reason in each.reasons))
