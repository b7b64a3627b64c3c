"""learn: fit the heads on what is embedded, evaluate, gate, choose the shortlist. No torch.

What it decides is written in one transaction; the publish job carries it to Label Studio.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import structlog
from sqlalchemy import Connection

from model.gate import Verdict
from store import work
from store.artifacts import ArtifactError
from store.projects import change_project
from store.publications import (
    Choice,
    Item,
    add_publication,
    predicted_tasks,
    set_shortlist,
)
from store.tasks import assign_holdout
from store.versions import (
    CANDIDATE,
    HEAD,
    REFUSED,
    START,
    Version,
    add_version,
    change_version,
    find_version,
    get_version,
)
from worker.choosing import (
    Pool,
    choose,
    load_pool,
    rest_items,
    shortlist_items,
    shortlist_size,
    suggest,
)
from worker.jobs.context import JobContext, running
from worker.predictor import Predictor, Suggestion, shortlist_score
from worker.snapshot import Snapshot, take_snapshot, training_set
from worker.training import Trained, TrainingSet, extend_holdout, judge, train

log = structlog.get_logger()

SEED = 0  # same labels, same version
CLEARLY_BETTER = 0.02  # accuracy: from here on, old suggestions are worth replacing everywhere


def preload() -> None:
    """Import in the worker what its children would import each time."""
    import scipy.linalg  # noqa: F401


def run(project_id: int, generation: int) -> None:
    """Learn from today's labels, or refill the shortlist when they are the same as before."""
    with running("learn", project_id, generation) as context:
        _Learning(context).run()


@dataclass(frozen=True)
class _Candidate:
    """A version that was trained, and what the gate says to it."""

    trained: Trained
    data: TrainingSet
    digest: str
    verdict: Verdict


class _Learning:
    def __init__(self, context: JobContext) -> None:
        self.context = context
        self.store = context.store
        self.settings = context.store.settings
        with context.step("read"):
            self.now: Snapshot = take_snapshot(context.store, context.project.id)

    def run(self) -> None:
        now = self.now
        if now.config.reason is not None or not now.space:
            self._write(reason=now.config.reason)
            return
        with self.context.step("read"):
            data = self._hold_out(training_set(self.store, now))
        digest = data.digest(now.config)
        newest = now.newest
        if newest is not None and newest.kind == HEAD and newest.labels_digest == digest:
            self._refill()
            return
        served = self._load(now.served)
        with self.context.step("fit"):
            trained = train(data, now.config, seed=SEED, served=served)
        if not trained.results:
            self._refill(reason="; ".join(trained.untrained.values()))
            return
        with self.context.step("gate"):
            verdict = self._judge(trained, data, served)
        log.info(
            "trained",
            labels=len(data.tasks),
            accuracy=round(trained.accuracy.value, 4),
            accepted=verdict.accepted,
            verdict=verdict.reason,
        )
        candidate = _Candidate(trained, data, digest, verdict)
        if verdict.accepted:
            self._publish(candidate)
        else:
            self._refill(refused=candidate)

    def _hold_out(self, data: TrainingSet) -> TrainingSet:
        more = extend_holdout(data, self.now.unbiased, seed=SEED)
        if more:
            project_id = self.now.project.id
            self.store.database.write(lambda db: assign_holdout(db, project_id, more))
        return replace(data, holdout=data.holdout | more)

    def _load(self, version: Version | None) -> Predictor | None:
        if version is None or version.embedding_space != self.now.space:
            return None
        try:
            return Predictor.load(self.store, version)
        except ArtifactError as error:
            log.warning("the served version can't be read; going on without it", error=str(error))
            return None

    def _judge(self, trained: Trained, data: TrainingSet, served: Predictor | None) -> Verdict:
        version = self.now.served
        if served is None or version is None or version.artifact is None or not served.heads:
            return Verdict(True, "first version")
        return judge(trained, data, served, self.store.artifacts.load(version.artifact))

    def _pool(self) -> Pool:
        with self.context.step("pool"):
            return load_pool(self.store, self.now.space, self.now.open, seed=SEED)

    def _choose(self, pool: Pool, predictor: Predictor, hardest: str | None) -> list[Choice]:
        size = shortlist_size(self.settings, self.now.annotations)
        seed = SEED + len(self.now.annotations)  # random picks differ from one time to the next
        with self.context.step("choose"):
            return choose(pool, predictor, hardest, size, seed=seed)

    def _suggest(self, predictor: Predictor, tasks: set[int]) -> dict[int, Suggestion]:
        listed = [task for task in self.now.tasks if task.ls_id in tasks]
        return suggest(self.store, listed, predictor, self.now.config)

    def _publish(self, candidate: _Candidate) -> None:
        now, trained = self.now, candidate.trained
        predictor = trained.predictor(now.space)
        artifact = self.store.artifacts.save(trained.artifact(now.space, candidate.digest))
        pool = self._pool()
        choices = self._choose(pool, predictor, trained.hardest)
        chosen = {choice.task for choice in choices}
        left = [task for task in now.remaining if task not in chosen]
        outdated = [task for task in self._outdated(trained) if task not in chosen | set(left)]
        answers = self._suggest(predictor, {*chosen, *left, *outdated})
        items = shortlist_items(choices, answers) + rest_items(left, answers)
        refresh = rest_items(outdated, answers)

        def write(db: Connection) -> None:
            version = self._add(db, candidate, CANDIDATE, artifact)
            add_publication(db, version.project_id, version.id, "version", items)
            if refresh:
                add_publication(db, version.project_id, version.id, "refresh", refresh)
            set_shortlist(db, version.project_id, version.id, choices)

        self._write(write)

    def _outdated(self, trained: Trained) -> list[int]:
        """Tasks that show a suggestion of a version that this one is clearly better than."""
        worse: dict[int, bool] = {}
        tasks = []
        with self.store.database.read() as db:
            for task, version_id in self.now.predictions.items():
                if version_id not in worse:
                    version = get_version(db, version_id)
                    known = (version.metrics.get("accuracy") or {}) if version else {}
                    gain = trained.accuracy.value - float(known.get("value", 0.0))
                    worse[version_id] = gain >= CLEARLY_BETTER
                if worse[version_id] and task not in self.now.annotated:
                    tasks.append(task)
        return tasks

    def _add(
        self, db: Connection, candidate: _Candidate, status: str, artifact: str | None
    ) -> Version:
        return add_version(
            db,
            self.now.project.id,
            kind=HEAD,
            status=status,
            embedding_space=self.now.space,
            labels=len(candidate.data.tasks),
            labels_digest=candidate.digest,
            metrics=candidate.trained.metrics(),
            verdict=candidate.verdict.reason,
            artifact=artifact,
        )

    def _refill(self, *, reason: str | None = None, refused: _Candidate | None = None) -> None:
        """Fill the shortlist up under the version that is served, or under the start version.

        A prediction that stands is never replaced: somebody may have the task open.
        """
        now = self.now
        served = now.served
        if served is None and now.newest is not None and not refused:
            self._write(reason=reason)  # its publication is under way
            return
        predictor = self._load(served) or Predictor({}, now.space)
        half_left = len(now.remaining) >= max(len(now.shortlist), 1) / 2
        enough = half_left and not self._pool_has_grown()
        choices: list[Choice] = []
        items: list[Item] = []
        known = len(now.open)
        if refused or not enough:
            pool = self._pool()
            with self.store.database.read() as db:
                shown = predicted_tasks(db, now.project.id, served.id) if served else set()
            free = [i for i, task in enumerate(pool.tasks) if task not in shown]
            pool = Pool([pool.tasks[i] for i in free], pool.x[free])
            hardest = _hardest(served) if served else None
            choices = self._choose(pool, predictor, hardest)
            answers = self._suggest(predictor, {choice.task for choice in choices})
            after = self._last_score()
            items = shortlist_items(choices, answers, after=after)
        kept = [Choice(task, "kept", None) for task in now.remaining]

        def write(db: Connection) -> None:
            if refused:
                self._add(db, refused, REFUSED, None)
            if not items:
                return
            version = served or _start_version(db, now.project.id, now.space)
            if version.kind == START:
                change_version(db, version.id, metrics={"pool": known})
            kind = "refill" if served else "version"
            add_publication(db, version.project_id, version.id, kind, items)
            set_shortlist(db, version.project_id, version.id, kept + choices)

        self._write(write, reason=reason)

    def _pool_has_grown(self) -> bool:
        """Before the first label: many more images are known than when we chose."""
        served = self.now.served
        if served is None:
            return True
        known = int(served.metrics.get("pool", 0))
        return served.kind == START and len(self.now.open) > 2 * known

    def _last_score(self) -> float:
        """The score after which a refill stands in Label Studio's order."""
        left, total = len(self.now.remaining), len(self.now.shortlist)
        return shortlist_score(total - 1, total) if left else 0.0

    def _write(
        self, write: Callable[[Connection], None] | None = None, *, reason: str | None = None
    ) -> None:
        project_id = self.now.project.id

        def commit(db: Connection) -> None:
            work.check(db, self.context.lease)
            if write is not None:
                write(db)
                # Learning itself has waited until our share of Label Studio's time allows it.
                work.want(db, project_id, "publish", not_before=0.0)
            change_project(db, project_id, reason=reason)
            work.finish(db, self.context.lease)

        self.store.database.write(commit)


def _hardest(version: Version) -> str | None:
    controls: dict[str, Any] = version.metrics.get("controls") or {}
    values = {name: control["accuracy"]["value"] for name, control in controls.items()}
    return min(values, key=values.__getitem__, default=None)


def _start_version(db: Connection, project_id: int, space: str) -> Version:
    known = find_version(db, project_id, 0)
    if known is not None:
        return known
    return add_version(
        db,
        project_id,
        kind=START,
        status=CANDIDATE,
        embedding_space=space,
        labels=0,
        labels_digest="",
        metrics={},
        verdict="an order to begin with",
        artifact=None,
    )
