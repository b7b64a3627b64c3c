"""The command line `apprentice`. Each command's code is imported when the command is given."""

import os
import sys
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from backend.cli import cli_results, cli_versions
from backend.cli.cli_choosing import simulate
from backend.cli.common import CommandError
from backend.cli.options import AsJson, Connection, Project

app = typer.Typer(
    name="apprentice",
    help="Learns image labels in Label Studio while people draw them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

OneProject = Annotated[
    int | None, typer.Option("--project", "-p", help="Only this Label Studio project id.", min=1)
]
Url = Annotated[str | None, typer.Option(help="Label Studio's URL; by default LABEL_STUDIO_URL.")]
ApiKey = Annotated[
    str | None,
    typer.Option(help="Its Personal Access Token; by default LABEL_STUDIO_API_KEY."),
]


class QueueName(StrEnum):
    """The queues; one worker serves one of them."""

    SYNC = "sync"
    EMBED = "embed"
    LEARN = "learn"
    PUBLISH = "publish"
    FINETUNE = "finetune"


class KindName(StrEnum):
    """What `train` trains."""

    HEAD = "head"
    FINETUNE = "finetune"


Kind = Annotated[KindName, typer.Option("--kind", help="Only the heads, or the backbone too.")]
BackboneName = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        help="Have this pretrained backbone from now on (or `default`, that of the settings).",
    ),
]
Wait = Annotated[bool, typer.Option("--wait", help="Until the version is published or refused.")]


@app.command()
def up() -> None:
    """Start everything on this machine; Ctrl-C stops it."""
    from backend.cli.processes import up as command

    command.run()


@app.command()
def serve() -> None:
    """Start the web process alone."""
    from backend.cli.processes import serve as command

    command.run()


@app.command()
def inference() -> None:
    """Start the inference process alone: it embeds images never seen before."""
    from backend.cli.processes import inference as command

    command.run()


@app.command()
def worker(queue: QueueName) -> None:
    """Start one background worker alone."""
    from backend.cli.processes import worker as command

    command.run(queue.value)


@app.command()
def connect(
    project: Project,
    connection: Connection = "default",
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Connect a Label Studio project, and learn at once from the labels that it has."""
    from backend.cli.actions import connect as command

    command.run_connect(project, connection, url, api_key)


@app.command()
def disconnect(
    project: Project,
    connection: Connection = "default",
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Put back what `connect` changed. What was learned is kept for the next `connect`."""
    from backend.cli.actions import connect as command

    command.run_disconnect(project, connection, url, api_key)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check that everything works together, and say what to do where it doesn't."""
    from backend.cli.reports import doctor as command

    command.run(as_json=as_json)


@app.command()
def status(
    project: OneProject = None, connection: Connection = "default", as_json: AsJson = False
) -> None:
    """Show what is learned, served and running."""
    from backend.cli.reports import status as command

    command.run(project, connection, as_json=as_json)


@app.command()
def train(
    project: Project,
    kind: Kind = KindName.HEAD,
    backbone: BackboneName = None,
    wait: Wait = False,
    connection: Connection = "default",
    as_json: AsJson = False,
) -> None:
    """Learn now: heads in seconds, or the backbone too in minutes."""
    from backend.cli.actions import train as command
    from services.versions.training_requests import TrainingKind

    command.run(project, connection, TrainingKind(kind.value), backbone, wait=wait, as_json=as_json)


@app.command()
def cancel(project: Project, connection: Connection = "default", as_json: AsJson = False) -> None:
    """Stop a fine-tuning that waits or runs."""
    from backend.cli.actions import train as command

    command.run_cancel(project, connection, as_json=as_json)


@app.command()
def labels(project: Project, connection: Connection = "default", as_json: AsJson = False) -> None:
    """Show how good each annotator's labels are, and which labels to look at again."""
    from backend.cli.actions import labels as command

    command.run(project, connection, as_json=as_json)


@app.command()
def advice(
    project: Project,
    goal: Annotated[
        str | None, typer.Option(help="Accuracy to be reached, such as 95%, or off.")
    ] = None,
    accept_error: Annotated[
        str | None,
        typer.Option(help="Accept sure suggestions unseen, of which at most this share is wrong."),
    ] = None,
    write: Annotated[
        bool | None,
        typer.Option(help="Write what is accepted to Label Studio, or only mark it (default)."),
    ] = None,
    connection: Connection = "default",
    as_json: AsJson = False,
) -> None:
    """Say how good suggestions are, what more labels would bring, and when to stop."""
    from backend.cli.reports import advice as command

    command.run(project, connection, goal, accept_error, write=write, as_json=as_json)


cli_versions.add_to(app)


@app.command()
def backbones(
    word: Annotated[
        str | None, typer.Argument(help="Look for names that contain this, of all known models.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the pretrained backbones that are usable here."""
    from backend.cli.reports import backbones as command

    command.run(word, as_json=as_json)


app.command()(simulate)


@app.command()
def demo() -> None:
    """Label Studio, sample images, Apprentice and a scripted annotator, all at once."""
    from backend.cli.processes import demo as command

    command.run()


cli_results.add_to(app)


def main() -> None:
    """The console script: errors that we know are one line, not a traceback."""
    # httpx looks for trio, which takes 0.1 s in each process where it is installed; nothing of
    # ours runs on it.
    sys.modules.setdefault("trio", None)  # type: ignore[arg-type]
    try:
        app()
    except CommandError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(
            f"apprentice: {error}", style="red", markup=False
        )
        sys.exit(error.code)
    except BrokenPipeError:  # `apprentice status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
