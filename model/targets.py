"""What a head can learn, in plain types: the language that the label config is translated into."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SingleLabel:
    """Exactly one of `classes` for an image. The order of `classes` is the order of logits."""

    classes: tuple[str, ...]


TargetSchema = SingleLabel
