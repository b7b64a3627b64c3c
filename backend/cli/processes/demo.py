"""`apprentice demo`."""

import os
import signal
from pathlib import Path
from types import FrameType

from rich.console import Console

from backend.cli.errors import CommandError

PORTS = (8080, 9090)  # Label Studio's and Apprentice's, when they are free
LABELS = 60


def demo() -> None:
    """Label Studio, sample images, Apprentice and a scripted annotator, all at once."""
    from backend.cli.processes.demo_display import DemoDisplay, show_urls
    from backend.demo.dataset import DatasetMissingError
    from backend.demo.label_studio import LabelStudioError
    from backend.demo.run import DemoError, DemoSession
    from backend.demo.sign_in import SignInError
    from studio.errors import StudioError

    by_hand = os.environ.get("BY_HAND", "") not in {"", "0"}
    labels = _labels()
    console = Console(highlight=False, soft_wrap=True)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        session = DemoSession(
            _home(),
            _label_studio(),
            ports=PORTS,
            keep_project=by_hand,
            tell=lambda line: console.print(line),
        )
        with session:
            show_urls(console, session, by_hand)
            DemoDisplay(console, session).run(labels, by_hand=by_hand)
    except (
        DemoError,
        LabelStudioError,
        DatasetMissingError,
        SignInError,
        StudioError,
    ) as error:
        raise CommandError(str(error)) from error
    except KeyboardInterrupt:
        console.print("stopped; what was made is kept in", _home(), markup=False)


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _home() -> Path:
    return Path(os.environ.get("APPRENTICE_HOME") or ".apprentice/demo").expanduser()


def _label_studio() -> Path:
    """Label Studio's virtual environment: the named one, or beside the project, or here."""
    named = os.environ.get("APPRENTICE_LABEL_STUDIO")
    if named:
        return Path(named).expanduser()
    beside = Path(__file__).resolve().parents[3] / ".venv-label-studio"
    return beside if beside.exists() else Path(".venv-label-studio")


def _labels() -> int:
    given = os.environ.get("APPRENTICE_DEMO_LABELS") or str(LABELS)
    if not given.isdecimal() or not int(given):
        raise CommandError(f"APPRENTICE_DEMO_LABELS must be a number of labels, not {given!r}")
    return int(given)
