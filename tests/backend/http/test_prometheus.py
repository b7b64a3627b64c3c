from prometheus_client.parser import text_string_to_metric_families

from store.work.jobs import add_job
from tests.support.web import (
    Running,
    add_tasks,
    predict_body,
    recorded,
    serve_version,
    task_payload,
)


def scrape(web: Running) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """{(name, labels): value}."""
    answer = web.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(found: dict, name: str, **labels: str) -> float | None:
    return found.get((name, tuple(sorted(labels.items()))))


def test_requests_are_counted_by_route_never_by_path(web):
    web.http.get("/health")
    web.http.get("/c/default/health")
    for number in range(5):
        web.http.get(f"/strange/{number}")
    found = scrape(web)
    count = "apprentice_request_seconds_count"
    assert value(found, count, method="GET", route="/health", status="200") == 2
    assert value(found, count, method="GET", route="other", status="404") == 5
    assert not any("strange" in str(key) for key in found)


def test_answers_and_webhooks_are_counted_by_outcome(web, project):
    add_tasks(web.store, project, [1, 2], embedded=True)
    serve_version(web.store, project)
    web.post("/predict", predict_body([task_payload(1), task_payload(2), task_payload(3)]))
    web.webhook(recorded("annotation_created"))
    web.webhook(recorded("annotation_created"))
    web.post("/webhook", recorded("annotation_created"))
    web.post("/webhook", {"action": "x" * 1000})
    found = scrape(web)
    assert value(found, "apprentice_predictions_total", outcome="suggested") == 2
    assert value(found, "apprentice_predictions_total", outcome="owed") == 1
    webhooks = "apprentice_webhooks_total"
    action = "ANNOTATION_CREATED"
    assert value(found, webhooks, action=action, outcome="stored") == 1
    assert value(found, webhooks, action=action, outcome="nothing new") == 1
    assert value(found, webhooks, action=action, outcome="refused") == 1
    assert value(found, webhooks, action="other", outcome="refused") == 1


def test_the_store_is_measured(web, project):
    add_tasks(web.store, project, [1, 2, 3], embedded=True)
    web.webhook(recorded("annotation_created"))
    serve_version(web.store, project)
    web.store.database.write(lambda db: add_job(db, project.id, "embed", 9))
    found = scrape(web)
    labels = {"connection": "default", "project": "5"}
    assert value(found, "apprentice_tasks", **labels) == 4
    assert value(found, "apprentice_embedded", **labels) == 3
    assert value(found, "apprentice_labels", **labels) == 1
    assert value(found, "apprentice_accuracy", bound="value", **labels) == 0.9
    assert value(found, "apprentice_jobs", kind="embed", state="queued") >= 1
    assert value(found, "apprentice_broker_up") == 1
    assert value(found, "process_resident_memory_bytes") > 1e7
