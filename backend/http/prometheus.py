"""Prometheus metrics of this process, and gauges of the state in the store."""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.views.status import SystemStatus

__all__ = ["CONTENT_TYPE_LATEST", "MeasuredRequests", "Metrics"]

BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)  # seconds


class Metrics:
    """The metrics of one web process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Histogram(
            "apprentice_request_seconds",
            "Time to answer a request.",
            ("method", "route", "status"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.predictions = Counter(
            "apprentice_predictions",
            "Tasks that /predict answered: suggested, unsure, broken, owed, refused.",
            ("outcome",),
            registry=self.registry,
        )
        self.webhooks = Counter(
            "apprentice_webhooks",
            "Webhooks by action and what became of them.",
            ("action", "outcome"),
            registry=self.registry,
        )
        self.inbox_syncs = Histogram(
            "apprentice_inbox_sync_seconds",
            "Time to write webhooks that came together to the inbox, with one sync of the disk.",
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.inbox_depth = Gauge(
            "apprentice_inbox_depth",
            "Acknowledged webhooks that are not applied to the database yet.",
            registry=self.registry,
        )
        self.inbox_age = Gauge(
            "apprentice_inbox_age_seconds",
            "How long the oldest of them has waited.",
            registry=self.registry,
        )

    def expose(self, status: SystemStatus) -> bytes:
        """All metrics in Prometheus' text format."""
        stored = CollectorRegistry()
        stored.register(_StatusCollector(status))
        return generate_latest(self.registry) + generate_latest(stored)


class _StatusCollector(Collector):
    """Collects gauges of the system's status."""

    def __init__(self, status: SystemStatus) -> None:
        self._status = status

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All gauges."""
        status = self._status
        yield GaugeMetricFamily(
            "apprentice_broker_up", "Whether the broker answers.", value=float(status.broker)
        )
        workers = GaugeMetricFamily(
            "apprentice_workers", "Workers that live.", labels=("queue", "busy")
        )
        seats = [(worker.queue, str(worker.busy).lower()) for worker in status.workers]
        for queue, busy in sorted(set(seats)):
            workers.add_metric([queue, busy], seats.count((queue, busy)))
        yield workers
        jobs = GaugeMetricFamily("apprentice_jobs", "Remembered jobs.", labels=("kind", "state"))
        for (kind, state), count in sorted(status.job_counts.items()):
            jobs.add_metric([kind, state], count)
        yield jobs
        yield from self._of_projects()

    def _of_projects(self) -> Iterator[GaugeMetricFamily]:
        labels = ("connection", "project")
        described = {
            "tasks": "Tasks.",
            "embedded": "Tasks whose image is embedded.",
            "broken": "Tasks whose image can't be used.",
            "labels": "Tasks with a usable annotation.",
            "shortlist": "Tasks chosen to be labelled next that are not labelled.",
            "owed": "Tasks whose answer is still to be completed.",
        }
        for name, text in described.items():
            gauge = GaugeMetricFamily(f"apprentice_{name}", text, labels=labels)
            for project in self._status.projects:
                gauge.add_metric([project.connection, str(project.project)], getattr(project, name))
            yield gauge
        problems = GaugeMetricFamily(
            "apprentice_problems",
            "Images, and tasks with labels, that can't be used, by the kind of reason.",
            labels=(*labels, "subject", "state", "reason"),
        )
        for project in self._status.projects:
            for problem in project.problems:
                of = [project.connection, str(project.project), problem.subject, problem.state]
                problems.add_metric([*of, problem.kind], problem.count)
        yield problems
        accuracy = GaugeMetricFamily(
            "apprentice_accuracy", "Accuracy of the served version.", labels=(*labels, "bound")
        )
        for project in self._status.projects:
            if project.accuracy is not None:
                for bound in ("value", "low", "high"):
                    accuracy.add_metric(
                        [project.connection, str(project.project), bound],
                        getattr(project.accuracy, bound),
                    )
        yield accuracy


class MeasuredRequests:
    """ASGI middleware that records each request's duration by route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and count it, with its duration."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        status = 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            # The route's own path, not the request's: strangers must not fill the memory.
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in {"GET", "POST", "HEAD"} else "other"
            self._metrics.requests.labels(method, route, str(status)).observe(
                time.perf_counter() - start
            )
