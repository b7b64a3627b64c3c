"""Versions for tests that don't train one."""

from typing import Any

from sqlalchemy import Connection

from store.versions.versions import CANDIDATE, HEAD, Version, add_version
from tests.support.workbench import SPACE


def plain_version(db: Connection, project_id: int, **fields: Any) -> Version:
    """A version without heads: a candidate of three labels, but for `fields`."""
    plain: dict[str, Any] = {
        "kind": HEAD,
        "status": CANDIDATE,
        "embedding_space": SPACE,
        "labels": 3,
        "labels_digest": "",
        "metrics": {},
        "verdict": "",
        "artifact": None,
    }
    return add_version(db, project_id, **{**plain, **fields})
