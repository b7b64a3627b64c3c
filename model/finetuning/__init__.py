"""Fine-tunes a backbone on labelled images. Importing this package doesn't import torch."""

from model.finetuning.options import Options, Target, tuning_target
from model.finetuning.pipeline import finetune
from model.finetuning.progress import Cancelled, Progress
from model.finetuning.results import CannotFinetuneError, Evaluation, Finetuned

__all__ = [
    "Cancelled",
    "CannotFinetuneError",
    "Evaluation",
    "Finetuned",
    "Options",
    "Progress",
    "Target",
    "finetune",
    "tuning_target",
]
