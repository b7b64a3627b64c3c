"""Exports a version to a folder that runs without Apprentice."""

from model.exporting.export_version import FORMATS, export
from model.exporting.graph import ExportedControl, ExportError

__all__ = [
    "FORMATS",
    "ExportError",
    "ExportedControl",
    "export",
]
