"""The command line `apprentice`: its commands, and how their errors are printed.

A command's module imports what is slow to import only when the command runs.
"""

import os
import sys

import typer
from rich.console import Console

from backend.cli.actions.apply import apply
from backend.cli.actions.backup import backup, restore
from backend.cli.actions.cancel import cancel
from backend.cli.actions.connect import connect
from backend.cli.actions.disconnect import disconnect
from backend.cli.actions.export import export
from backend.cli.actions.promote import promote
from backend.cli.actions.rename import rename
from backend.cli.actions.rollback import rollback
from backend.cli.actions.train import train
from backend.cli.errors import CommandError
from backend.cli.processes.demo import demo
from backend.cli.processes.guests import guests
from backend.cli.processes.inference import inference
from backend.cli.processes.serve import serve
from backend.cli.processes.up import up
from backend.cli.processes.worker import worker
from backend.cli.reports.advice import advice
from backend.cli.reports.backbones import backbones
from backend.cli.reports.doctor import doctor
from backend.cli.reports.labels import labels
from backend.cli.reports.ledger import ledger
from backend.cli.reports.similar import similar
from backend.cli.reports.simulate import simulate
from backend.cli.reports.status import status
from backend.cli.reports.versions import versions

COMMANDS = (  # in the order of --help
    up,
    serve,
    inference,
    guests,
    worker,
    connect,
    disconnect,
    doctor,
    status,
    train,
    cancel,
    labels,
    rename,
    advice,
    versions,
    rollback,
    promote,
    export,
    backbones,
    simulate,
    demo,
    ledger,
    apply,
    similar,
    backup,
    restore,
)

app = typer.Typer(
    name="apprentice",
    help="Learns image labels in Label Studio while people draw them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """Run the console script; a CommandError is printed as one line, not as a traceback."""
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
