"""Hosts one model class written for label-studio-ml, and answers requests for it on two pipes.

The guest's own Python runs it as a script. That may be an old one (3.8 or later) with nothing of
ours installed, so it imports the standard library alone. A message is its length in 4 bytes
(big-endian) and as many bytes of JSON. What the guest prints goes to stderr.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import struct
import sys
import traceback
from pathlib import Path
from typing import Any, BinaryIO, Callable  # noqa: UP035 - collections.abc's is newer than 3.8

HEADER = struct.Struct(">I")
LONGEST = 64_000_000  # bytes of an answer
TOLD = 4_000  # characters of an error and of its traceback
INSTANCES = 8  # of projects that are kept
HERE = Path(__file__).resolve().parent
EVENTS = "2.x"  # fit(event, data, ...), predict(tasks, context=..., ...)
TASKS = "1.0.9"  # fit(tasks, workdir, ...), predict(tasks, ...)


def import_guest(file: Path, class_name: str) -> Any:
    """Import the guest's class, as a server of label-studio-ml beside its file would.

    Raises ImportError and TypeError, and whatever the file raises.
    """
    sys.path[:] = [str(file.parent), *(p for p in sys.path if Path(p).resolve() != HERE)]
    if importlib.util.find_spec("label_studio_ml") is None:
        sys.path.append(str(HERE / "stand_in"))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    found = getattr(module, class_name, None)
    if not inspect.isclass(found):
        raise ImportError(f"{file} has no class {class_name}")
    if not any(base.__name__ == "LabelStudioMLBase" for base in found.__mro__):
        raise TypeError(f"{class_name} is no subclass of LabelStudioMLBase")
    return found


def base_of(guest: Any) -> Any:
    """The class LabelStudioMLBase that the guest's class is derived from."""
    return next(base for base in guest.__mro__ if base.__name__ == "LabelStudioMLBase")


def parameters(function: Any) -> list[str]:
    """The names of a function's parameters, without `self`."""
    return [name for name in inspect.signature(function).parameters if name != "self"]


def style_of(guest: Any) -> str:
    """The interface that the class was written for.

    The real base class tells; with the stand-in for it, the class's own signatures do.
    """
    base = base_of(guest)
    if "project_id" not in parameters(base.__init__):
        return TASKS
    if not getattr(base, "STAND_IN", False) or guest.setup is not base.setup:
        return EVENTS
    if guest.__init__ is not base.__init__ and "train_output" in parameters(guest.__init__):
        return TASKS
    if guest.fit is not base.fit:
        return TASKS if parameters(guest.fit)[0] not in {"event", "args"} else EVENTS
    own_predict = guest.predict is not base.predict
    return TASKS if own_predict and "context" not in parameters(guest.predict) else EVENTS


def accepted(function: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Those of the arguments that the function takes by name."""
    taken = inspect.signature(function).parameters
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in taken.values()):
        return arguments
    return {name: value for name, value in arguments.items() if name in taken}


class Host:
    """A guest's class, and an instance of it for each project, which stays loaded."""

    def __init__(self, file: Path, class_name: str) -> None:
        self.guest = import_guest(file, class_name)
        self.style = style_of(self.guest)
        self.instances: dict[str, Any] = {}

    def describe(self, _request: dict[str, Any]) -> dict[str, Any]:
        """What the class is: its interface, whether it learns, and what runs it."""
        base = base_of(self.guest)
        return {
            "style": self.style,
            "fits": self.guest.fit is not base.fit,
            "stand_in": getattr(base, "STAND_IN", False),
            "python": sys.version.split()[0],
        }

    def load(self, request: dict[str, Any]) -> dict[str, Any]:
        """Make the instance of a project, in place of an earlier one. Returns its version."""
        self.instances.pop(request["project"], None)
        while len(self.instances) >= INSTANCES:
            del self.instances[next(iter(self.instances))]
        reach_studio(request)
        if self.style == EVENTS:
            instance = self.guest(
                project_id=request["project_id"], label_config=request["label_config"]
            )
            version = instance.get("model_version")
        else:
            trained = request.get("train_output") or {}
            instance = self.guest(
                label_config=request["label_config"],
                train_output=trained or None,
                hostname=request.get("hostname") or "",
                access_token=request.get("access_token") or "",
            )
            version = trained.get("job_id") or "INITIAL"
        self.instances[request["project"]] = instance
        return {"version": None if version is None else str(version)}

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return what label-studio-ml's server would answer as `results`, whatever that is."""
        instance = self.instances[request["project"]]
        reach_studio(request)
        context, params = request.get("context"), request.get("params") or {}
        interactive = getattr(instance, "predict_interactive", None)
        call = interactive if context and callable(interactive) else instance.predict
        if self.style == EVENTS:
            context = context or {}
        answer = call(request["tasks"], **accepted(call, {"context": context, **params}))
        return {"answer": answer}

    def fit(self, request: dict[str, Any]) -> dict[str, Any]:
        """Train. Returns the new version, and the dict that 1.0.9 calls `train_output`."""
        instance = self.instances[request["project"]]
        event, data = request["event"], request["data"]
        more = {"job_id": request["job_id"], "workdir": request["workdir"]}
        if self.style == EVENTS:
            output = instance.fit(event, data, **accepted(instance.fit, more))
            version = instance.get("model_version")
        else:
            more.update(event=event, data=data)
            output = instance.fit(request["tasks"], **accepted(instance.fit, more))
            version = request["job_id"]
        return {
            "version": None if version is None else str(version),
            "train_output": output if isinstance(output, dict) else None,
        }


def reach_studio(request: dict[str, Any]) -> None:
    """Set where `get_local_path` finds Label Studio, of the project at hand."""
    for name, key in (
        ("LABEL_STUDIO_URL", "hostname"),
        ("LABEL_STUDIO_HOST", "hostname"),
        ("LABEL_STUDIO_API_KEY", "access_token"),
    ):
        if request.get(key):
            os.environ[name] = request[key]


def plain(value: Any) -> Any:
    """What JSON can hold in place of pydantic's models, numpy's numbers and arrays, and paths."""
    for name in ("model_dump", "tolist", "dict"):
        method = getattr(value, name, None)
        if callable(method):
            return method()
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, os.PathLike) or type(value).__name__ == "Version":
        return str(value)
    raise TypeError(f"{type(value).__name__} can't be written as JSON")


def read_message(source: BinaryIO) -> Any:
    """The next request; None when the other side has closed the pipe."""
    header = source.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    return json.loads(source.read(HEADER.unpack(header)[0]).decode())


def write_message(target: BinaryIO, message: Any) -> None:
    """Send an answer; one that can't be sent becomes an error."""
    try:
        body = json.dumps(message, default=plain).encode()
    except (TypeError, ValueError, RecursionError) as error:
        body = json.dumps({"error": error_of(error)}).encode()
    if len(body) > LONGEST:
        too_long = ValueError(f"its answer has {len(body):,} bytes, at most {LONGEST:,} are taken")
        body = json.dumps({"error": error_of(too_long)}).encode()
    target.write(HEADER.pack(len(body)) + body)
    target.flush()


def error_of(error: BaseException) -> dict[str, str]:
    """An exception, for people, with the end of its traceback."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    message = str(error).strip()[:TOLD]
    return {"type": type(error).__name__, "message": message, "traceback": text[-TOLD:]}


def answer(call: Callable[[Any], Any], request: Any) -> dict[str, Any]:
    """The message that answers a request: whatever the guest raises is an answer too."""
    try:
        return {"result": call(request)}
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        return {"error": error_of(error)}
    finally:
        sys.stdout.flush()


def main(file: Path, class_name: str, read_fd: int, write_fd: int) -> None:
    """Load the guest, then answer requests until the pipe closes."""
    source, target = os.fdopen(read_fd, "rb"), os.fdopen(write_fd, "wb")
    os.dup2(2, 1)  # what the guest prints is no message
    hosts: list[Host] = []

    def start(request: Any) -> dict[str, Any]:
        hosts.append(Host(file, class_name))
        return hosts[0].describe(request)

    write_message(target, answer(start, {}))
    while hosts and (request := read_message(source)) is not None:
        write_message(target, answer(getattr(hosts[0], request["method"]), request))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
