"""Resolves the votes of annotators into one label for each unit and control."""

from collections.abc import Iterable, Mapping, Sequence

from model.annotators.vote_matrix import Vote
from model.targets.kind import kind_of
from model.targets.schema import TargetSchema, Value
from services.labels.votes import Votes, read_votes
from store.tasks.annotations import AnnotationRecord
from store.tasks.units import TaskId, UnitId
from studio.config import LabelConfig

Labels = dict[UnitId, dict[str, Value]]  # {unit: {control: label}}


def read_labels(
    annotations: Iterable[AnnotationRecord],
    config: LabelConfig,
    images: Mapping[TaskId, int] | None = None,
) -> Labels:
    """The labels of all units with a usable annotation; the arguments are those of `read_votes`."""
    return resolve_labels(read_votes(annotations, config, images), config)


def resolve_labels(votes: Votes, config: LabelConfig) -> Labels:
    """The label of each unit, by control.

    Ground truth counts before anything else. What several votes come to is for the kind of target
    to say: mostly the majority, and of a tie the newest.
    """
    schemas = {control.name: control.schema for control in config.controls}
    return {
        unit: {control: _resolve(cast, schemas[control]) for control, cast in controls.items()}
        for unit, controls in votes.items()
    }


def _resolve(votes: Sequence[Vote], schema: TargetSchema) -> Value:
    truths = [vote.value for vote in votes if vote.ground_truth]
    values = truths or [vote.value for vote in votes]
    resolved: Value = values[0] if len(values) == 1 else kind_of(schema).resolve(schema, values)
    return resolved
