"""A project's label config, with the renames that people gave."""

from store.projects.projects import Project
from studio.config import LabelConfig, parse_label_config
from studio.renames import Renames


def label_config_of(project: Project) -> LabelConfig:
    """Read the project's label config; annotations read with it are under today's names."""
    return parse_label_config(project.label_config, Renames.from_json(project.renames))
