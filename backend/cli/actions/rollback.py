"""`apprentice rollback`."""

from backend.cli.options import AsJson, Connection, Project, VersionName


def rollback(
    project: Project,
    version: VersionName = None,
    connection: Connection = "default",
    as_json: AsJson = False,
) -> None:
    """Serve an earlier version again (the one before, or VERSION), and pin it."""
    from backend.cli.actions.serving_decision import serve_version

    serve_version("rollback", project, connection, version, as_json=as_json)
