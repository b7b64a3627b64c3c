"""Exports a version as a folder that runs without Apprentice: model, labels, `infer.py`."""

from model.exporting.export_version import FORMATS, export
from model.exporting.graph import ExportedControl, ExportError

__all__ = [
    "FORMATS",
    "ExportError",
    "ExportedControl",
    "export",
]
