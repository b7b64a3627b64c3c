"""Parses the options in a backbone's name: "MODEL?size=224&range=0..1"."""

import difflib
import re

from model.backbones.registry import UnknownBackboneError


def split_options(model: str, allowed: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """Split a model's name into the name itself and its options.

    Raises UnknownBackboneError for an option that is not `allowed`, or a wrong size.
    """
    name, _, query = model.partition("?")
    options: dict[str, str] = {}
    for option in query.split("&") if query else ():
        key, _, value = option.partition("=")
        if key not in allowed or not value:
            near = difflib.get_close_matches(key, allowed, n=1)
            hint = f"did you mean {near[0]}=…?" if near else f"there are: {', '.join(allowed)}."
            raise UnknownBackboneError(f"{model!r} has an option {option!r}: {hint}")
        options[key] = value
    size_option(options, (0, 0))
    return name, options


def size_option(options: dict[str, str], default: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) in pixels of "size=224" or "size=HEIGHTxWIDTH".

    Raises UnknownBackboneError.
    """
    if "size" not in options:
        return default
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", options["size"])
    height = int(match[1]) if match else 0
    width = int(match[2] or match[1]) if match else 0
    if not (8 <= height <= 4096 and 8 <= width <= 4096):
        raise UnknownBackboneError(
            f"size={options['size']} is no input size: write size=224 or size=HEIGHTxWIDTH, "
            "in pixels from 8 to 4096"
        )
    return height, width
