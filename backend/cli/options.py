"""Options that several commands of the command line have."""

from typing import Annotated

import typer

Project = Annotated[int, typer.Option("--project", "-p", help="Label Studio's project id.", min=1)]
Connection = Annotated[str, typer.Option(help="Which Label Studio, when there are several.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]
