"""Calls that import tasks, by their data or as image files."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Sequence
from typing import Any

from studio.calls.base import Calls
from studio.records.projects import ImportInfo

# Label Studio takes 100 files in one request (DATA_UPLOAD_MAX_NUMBER_FILES).
FILES_IN_A_REQUEST = 100
IMPORT_TIMEOUT = 300.0  # seconds


class ImportCalls(Calls):
    """Calls that import tasks and upload files."""

    def import_tasks(self, project: int, tasks: Sequence[dict[str, Any]]) -> ImportInfo:
        """Make tasks; an item is a task's data, or `{"data", "annotations", "predictions"}`."""
        return ImportInfo.from_json(
            self.http.call(
                "POST",
                f"/api/projects/{project}/import",
                params={"return_task_ids": "true"},
                json=list(tasks),
                timeout=IMPORT_TIMEOUT,
            )
        )

    def upload_images(self, project: int, images: Iterable[tuple[str, bytes]]) -> int:
        """Upload (file name, bytes) and make one task of each; return how many there are.

        A task's image becomes `/data/upload/PROJECT/RANDOM-NAME`: Label Studio replaces what is
        unusual in a file name by underscores.
        """
        created = 0
        batch: list[tuple[str, tuple[str, bytes, str]]] = []
        for name, data in images:
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            batch.append((f"file{len(batch)}", (name, data, kind)))
            if len(batch) == FILES_IN_A_REQUEST:
                created += self._upload(project, batch)
                batch = []
        if batch:
            created += self._upload(project, batch)
        return created

    def _upload(self, project: int, files: list[tuple[str, tuple[str, bytes, str]]]) -> int:
        path = f"/api/projects/{project}/import"
        answer = self.http.call("POST", path, files=files, timeout=IMPORT_TIMEOUT)
        return ImportInfo.from_json(answer).tasks
