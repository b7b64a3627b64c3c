"""Options that several commands share."""

from typing import Annotated

import typer

Project = Annotated[int, typer.Option("--project", "-p", help="Label Studio's project id.", min=1)]
Connection = Annotated[str, typer.Option(help="Which Label Studio, when there are several.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]
Url = Annotated[str | None, typer.Option(help="Label Studio's URL; by default LABEL_STUDIO_URL.")]
ApiKey = Annotated[
    str | None,
    typer.Option(help="Its Personal Access Token; by default LABEL_STUDIO_API_KEY."),
]
VersionName = Annotated[
    str | None, typer.Argument(help='A version\'s name: "v3" or "apprentice v3".')
]
