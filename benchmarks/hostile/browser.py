"""Attacks the web process through a real browser: forms and scripts of a page of another site.

The page is opened from another site, from another port of the same machine, and under a name that
an attacker's DNS has pointed to us (then the page and its requests have one origin).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.hostile.target import Target, target
from benchmarks.support.harness import Options
from benchmarks.support.report import Bar, Outcome

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-popup-blocking",
)
SECONDS = 240.0  # for one page
PAGE = Path(__file__).with_name("page.html")


class BrowserMissingError(Exception):
    """There is no browser on this machine."""


def run(_options: Options) -> Outcome:
    """Open the page in each of its places, and compare what is stored before and after."""
    bars = []
    with target() as attacked:
        port = urlsplit(attacked.url).port
        before = attacked.rows()
        with hostile_site(attacked.url) as (site, reports):
            for name, host, goal in (
                ("another site", "evil.example", attacked.url),
                ("another port", "127.0.0.1", attacked.url),
                ("the name localhost", "localhost", f"http://localhost:{port}"),
                ("a name pointed to us", "rebound.example", f"http://rebound.example:{port}"),
            ):
                read = open_page(f"http://{host}:{site}/?name={host}&target={goal}", host, reports)
                what = f"answers that a page of {name} could read"
                bars.append(Bar(what, "exactly", 0, len(read), "answers", ", ".join(read[:5])))
        after = attacked.rows()
        changed = [table for table in before if before[table] != after[table]]
        refused, accepted = _posts(attacked)
    return Outcome(
        [
            *bars,
            Bar("tables changed", "exactly", 0, len(changed), "tables", ", ".join(changed)),
            Bar("requests to change something accepted", "exactly", 0, accepted, "requests"),
            Bar("such requests refused", "least", 300, refused, "requests"),
        ]
    )


def open_page(url: str, host: str, reports: dict[str, Any]) -> list[str]:
    """Open the page in a browser until it has reported; what it could read of us."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise BrowserMissingError(f"none of {', '.join(BROWSERS)} is installed")
    reported = reports[host] = threading.Event()
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as folder:
        rules = "MAP *.example 127.0.0.1"
        process = subprocess.Popen(
            [browser, *FLAGS, f"--user-data-dir={folder}", f"--host-resolver-rules={rules}", url],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            if not reported.wait(SECONDS):
                raise TimeoutError(f"the page at {url} did not report")
        finally:
            process.terminate()
            process.wait()
    found: list[str] = reports[f"read {host}"]
    return found


@contextmanager
def hostile_site(forward: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Serve the page within a `with` block; its port, and what its visits reported."""
    reports: dict[str, Any] = {}

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = PAGE.read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()
            reports[f"read {body['name']}"] = body["read"]
            reports[body["name"]].set()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port, reports
    finally:
        server.shutdown()
        server.server_close()


def _posts(attacked: Target) -> tuple[int, int]:
    """How many requests to change something were refused, and accepted."""
    refused = accepted = 0
    text = httpx.get(f"{attacked.url}/metrics", timeout=30).text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "apprentice_request_seconds_count":
                if sample.labels["method"] in ("GET", "HEAD"):
                    continue
                if sample.labels["status"].startswith("2"):
                    accepted += int(sample.value)
                else:
                    refused += int(sample.value)
    return refused, accepted
