"""Options that several commands share."""

import sys
from typing import Annotated

import typer


def _read_api_key(value: str | None) -> str | None:
    """Read a token given as `-` from standard input; warn of one given on the command line."""
    if value == "-":
        return sys.stdin.readline().strip() or None
    if value is not None:
        typer.echo(
            "apprentice: other users of this machine can read a token on the command line: set "
            "LABEL_STUDIO_API_KEY, pass it on standard input (--api-key -), or leave the option "
            "out and be asked for it",
            err=True,
        )
    return value


Project = Annotated[int, typer.Option("--project", "-p", help="Label Studio's project id.", min=1)]
Connection = Annotated[str, typer.Option(help="Which Label Studio, when there are several.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]
Url = Annotated[str | None, typer.Option(help="Label Studio's URL; by default LABEL_STUDIO_URL.")]
ApiKey = Annotated[
    str | None,
    typer.Option(
        help="Its Personal Access Token, - to read it from standard input; by default "
        "LABEL_STUDIO_API_KEY, else you are asked for it.",
        callback=_read_api_key,
    ),
]
VersionName = Annotated[
    str | None, typer.Argument(help='A version\'s name: "v3" or "apprentice v3".')
]
