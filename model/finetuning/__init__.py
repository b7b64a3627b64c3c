"""Fine-tunes a backbone on all labels, from its pretrained weights.

`finetune` does all of it; `terms` is what goes in and comes out. Importing this imports no torch.
"""

from model.finetuning.engine import finetune
from model.finetuning.terms import (
    Cancelled,
    CannotFinetuneError,
    Evaluation,
    Finetuned,
    Options,
    Progress,
    Target,
)

__all__ = [
    "Cancelled",
    "CannotFinetuneError",
    "Evaluation",
    "Finetuned",
    "Options",
    "Progress",
    "Target",
    "finetune",
]
