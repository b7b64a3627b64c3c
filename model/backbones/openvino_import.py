"""OpenVINO without its telemetry: importing it any other way here would be a mistake."""

import sys
from types import ModuleType


def import_openvino() -> ModuleType:
    """The `openvino` package, which from then on has no telemetry package to report with.

    Its converter sends usage data unless the user opted out; where `openvino_telemetry` can't be
    imported it uses a stub that sends nothing.
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino  # type: ignore[no-any-return]
