"""What the tests of the deployment share."""

import json
import shlex
from pathlib import Path
from typing import Any

import yaml

from store.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


def compose() -> dict[str, Any]:
    """The compose file, its anchors and merges resolved."""
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def our_services() -> dict[str, dict[str, Any]]:
    """The compose file's services that run an image of ours."""
    return {name: made for name, made in compose()["services"].items() if "build" in made}


def stages() -> dict[str, list[tuple[str, str]]]:
    """The Dockerfile's stages: (instruction, rest of the line) by the stage's name."""
    text = (ROOT / "deploy" / "Dockerfile").read_text().replace("\\\n", " ")
    found: dict[str, list[tuple[str, str]]] = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        instruction, _, rest = line.strip().partition(" ")
        if instruction == "FROM":
            current = found.setdefault(rest.split()[-1], [])
        current.append((instruction, rest))
    return found


def last(stage: list[tuple[str, str]], instruction: str) -> Any:
    """What a stage's last such instruction says: a list when it is in JSON, else its words."""
    rest = [text for name, text in stage if name == instruction][-1]
    return json.loads(rest) if rest.startswith("[") else shlex.split(rest)


def setting_names() -> set[str]:
    """Every environment variable that our settings read."""
    names = set()
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        names.add(alias.choices[0] if alias else f"APPRENTICE_{name.upper()}")
    return names
