"""Imports OpenVINO without its telemetry; use it instead of `import openvino`."""

import sys
from types import ModuleType


def import_openvino() -> ModuleType:
    """Import the `openvino` package, with `openvino_telemetry` blocked.

    Its converter sends usage data unless the user opted out; without `openvino_telemetry` it uses a
    stub that sends nothing.
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino  # type: ignore[no-any-return]
