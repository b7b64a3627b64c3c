"""Prediction items: what is pushed to Label Studio for each task."""

from collections.abc import Sequence

from services.suggestions.predictor import Suggestion
from services.suggestions.queue_order import rest_score, shortlist_score
from store.predictions.publications import Item
from store.predictions.shortlists import Choice


def shortlist_items(
    choices: Sequence[Choice], suggestions: dict[int, Suggestion], *, first: int = 0
) -> list[Item]:
    """What to push for a shortlist that begins at the place `first`."""
    return [
        Item(
            choice.task,
            shortlist_score(place),
            suggestions[choice.task].result,
            suggestions[choice.task].withheld,
        )
        for place, choice in enumerate(choices, first)
        if choice.task in suggestions
    ]


def rest_items(tasks: Sequence[int], suggestions: dict[int, Suggestion]) -> list[Item]:
    """What to push for tasks that are not on the shortlist."""
    return [
        Item(task, rest_score(found.confidence), found.result, found.withheld)
        for task in tasks
        if (found := suggestions.get(task)) is not None
    ]
