"""Makes prediction items: the predictions to push to Label Studio, with their scores."""

from collections.abc import Sequence

from services.suggestions.predictor import Suggestion
from services.suggestions.queue_order import rest_score, shortlist_score
from store.predictions.publications import PredictionItem
from store.predictions.shortlists import Choice
from store.tasks.units import TaskId
from studio.regions import regions_to_json


def prediction_item(task: TaskId, score: float, suggestion: Suggestion) -> PredictionItem:
    """A task's suggestion as a prediction item; `score` orders the queue."""
    withheld = suggestion.withheld
    return PredictionItem(
        task,
        score,
        regions_to_json(suggestion.result),
        None if withheld is None else regions_to_json(withheld),
    )


def shortlist_items(
    choices: Sequence[Choice], suggestions: dict[TaskId, Suggestion], *, first: int = 0
) -> list[PredictionItem]:
    """The items of a shortlist that begins at the place `first`."""
    return [
        prediction_item(choice.task, shortlist_score(place), suggestions[choice.task])
        for place, choice in enumerate(choices, first)
        if choice.task in suggestions
    ]


def rest_items(
    tasks: Sequence[TaskId], suggestions: dict[TaskId, Suggestion]
) -> list[PredictionItem]:
    """The items of tasks that are not on the shortlist."""
    return [
        prediction_item(task, rest_score(suggestion.confidence), suggestion)
        for task in tasks
        if (suggestion := suggestions.get(task)) is not None
    ]
