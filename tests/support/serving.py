"""What publishing does to the store, without Label Studio."""

from store.predictions.publications import (
    begin_chunk,
    end_chunk,
    end_publication,
    next_chunk,
    pending_publications,
)
from store.projects.projects import serve
from store.versions.versions import get_version, mark_served
from tests.support.workbench import Workbench


def serve_newest(bench: Workbench) -> None:
    """Note that all that is pending was pushed, and that its version is served."""

    def write(db):
        for published in pending_publications(db, bench.project_id):
            while (chunk := next_chunk(db, published.id)) is not None:
                begin_chunk(db, chunk)
                end_chunk(db, published, chunk, 0.0, sent=chunk.items)
            end_publication(db, published.id)
            serve(db, bench.project_id, published.version_id, published.id)
            version = get_version(db, published.version_id)
            assert version is not None
            mark_served(db, version)

    bench.store.database.write(write)
