"""A backbone with its heads as one PyTorch module, from pixels to probabilities."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from model.backbones import BackboneSpec
from model.heads.linear import LinearHead
from model.targets.learned import Activation, Learned, Output
from model.targets.schema import TargetSchema


class ExportError(Exception):
    """The version can't be exported. The message says what to do."""


@dataclass(frozen=True)
class ExportedControl:
    """A control: its learned head, and its labels in today's label config."""

    name: str
    learned: Learned
    target: TargetSchema

    @property
    def output(self) -> Output:
        """How the head's outputs become labels."""
        return self.learned.output(self.target)

    @property
    def classes(self) -> list[str]:
        """The classes of the exported outputs, in their order."""
        return [self.learned.head.classes[index] for index in self.output.kept]


ACTIVATIONS: dict[Activation, Callable[[torch.Tensor], torch.Tensor]] = {
    "softmax": lambda outputs: torch.softmax(outputs, dim=1),
    "sigmoid": torch.sigmoid,
    "identity": lambda outputs: outputs,
}


class ExportedHead(torch.nn.Module):
    """Features [N, D] to probabilities [N, C] of one control, or to its numbers [N, 1]."""

    def __init__(self, control: ExportedControl) -> None:
        super().__init__()
        head = control.learned.head
        if not isinstance(head, LinearHead):
            raise ExportError(
                f"{control.name} is answered by a {head.kind} head, which only Apprentice runs: "
                "export a version whose heads are linear (logistic, ridge, svm, prototype)"
            )
        output = control.output
        self.activation = output.activation
        self.power = float(head.power)
        self.temperature = float(control.learned.temperature)
        self.above = list(output.above)
        self.register_buffer("weight", torch.from_numpy(head.weight.copy()))
        # The bias of a class without labels is −∞, which not every runtime handles.
        bias = np.maximum(head.bias, np.float32(-1e9))
        self.register_buffer("bias", torch.from_numpy(bias))
        self.register_buffer("kept", torch.from_numpy(output.kept.astype(np.int64)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Compute the probabilities as `LinearHead` and `Learned` do, or the number."""
        x = features
        if self.power != 1:
            x = torch.sign(x) * torch.abs(x) ** self.power
        x = x / torch.clamp(torch.linalg.vector_norm(x, dim=1, keepdim=True), min=1e-12)
        outputs = x @ self.get_buffer("weight") + self.get_buffer("bias")
        p = ACTIVATIONS[self.activation](outputs / self.temperature)
        if self.above:
            columns = list(torch.unbind(p, dim=1))
            for child, parent in self.above:
                columns[parent] = torch.maximum(columns[parent], columns[child])
            p = torch.stack(columns, dim=1)
        return torch.index_select(p, 1, self.get_buffer("kept"))


class ExportedModel(torch.nn.Module):
    """uint8 pixels [N, H, W, 3] to a tuple of outputs [N, C], one for each control."""

    def __init__(
        self, backbone: torch.nn.Module, spec: BackboneSpec, controls: Sequence[ExportedControl]
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = torch.nn.ModuleList([ExportedHead(control) for control in controls])
        self.register_buffer("mean", 255 * torch.tensor(spec.mean).view(1, 3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(spec.std).view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Normalise the pixels and compute the outputs of all controls."""
        x = images.permute(0, 3, 1, 2).to(torch.float32)
        x = (x - self.get_buffer("mean")) / self.get_buffer("std")
        # The heads were fitted on embeddings in half precision.
        features = self.backbone(x).to(torch.float16).to(torch.float32)
        return tuple(head(features) for head in self.heads)
