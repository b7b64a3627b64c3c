"""A candidate: a version that was trained and compared, and is not stored yet."""

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from model.evaluation.paired_tests import Verdict
from services.embedding.backbones import backbone_folder
from services.training.manifest import provenance
from services.training.train import Trained
from services.training.training_set import TrainingSet
from store.store import Store
from store.versions.label_reviews import Review
from store.versions.version_metrics import VersionMetrics
from store.versions.versions import CANDIDATE, FINETUNE, HEAD, REFUSED, Version, add_version
from studio.config import LabelConfig


@dataclass(frozen=True)
class Candidate:
    """A version's heads, their training set, and the gate's verdict."""

    trained: Trained
    data: TrainingSet
    digest: str  # of the data
    verdict: Verdict
    review: Review
    finetune: dict[str, Any] | None  # how its backbone was tuned, of the first version on it

    def metrics(self) -> VersionMetrics:
        """The version's metrics, to be stored."""
        metrics = self.trained.metrics()
        if self.finetune is not None:
            metrics["finetune"] = self.finetune
        return metrics

    def keep(self, store: Store, config: LabelConfig, *, seed: int) -> str:
        """Store its heads; the artifact's digest."""
        artifact = self.trained.artifact(self.data.space, self.digest)
        manifest = provenance(
            config,
            self.data.space,
            labels=len(self.data.tasks),
            seed=seed,
            backbones=backbone_folder(store.settings),
        )
        return store.artifacts.save(replace(artifact, manifest=artifact.manifest | manifest))

    def add(self, db: Connection, project_id: int, artifact: str) -> Version:
        """Add it as the project's newest version: a candidate, or refused."""
        return add_version(
            db,
            project_id,
            kind=HEAD if self.finetune is None else FINETUNE,
            status=CANDIDATE if self.verdict.accepted else REFUSED,
            embedding_space=self.data.space,
            labels=len(self.data.tasks),
            labels_digest=self.digest,
            metrics=self.metrics(),
            verdict=self.verdict.reason,
            artifact=artifact,
        )
