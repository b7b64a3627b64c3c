"""`apprentice promote`."""

from backend.cli.options import AsJson, Connection, Project, VersionName


def promote(
    project: Project,
    version: VersionName = None,
    connection: Connection = "default",
    as_json: AsJson = False,
) -> None:
    """Serve a version whatever the gate said (the newest waiting, or VERSION); ends a rollback."""
    from backend.cli.actions.serving_decision import serve_version

    serve_version("promote", project, connection, version, as_json=as_json)
