"""Draws which folder may import which: `make picture` writes docs/images/folders.svg.

All of it is read from the imports. A box is a folder, or a module that lies beside the folders of a
package; it imports only from boxes below it, and from the store where a line leads there.
"""

from collections.abc import Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "folders.svg"
STORE = "store"
PACKAGES = ("backend", "worker", "services", "studio", "model", STORE)

Imports = Mapping[str, set[str]]  # {module: modules that it imports}
Rows = list[list[tuple[str, float]]]  # boxes in lines: label and width

# Sizes in pixels.
BOX, GAP, LETTER, PADDING, MARGIN = 24, 8, 6.6, 10, 12
NAME, WIDTH, STORE_WIDTH = 84, 540, 190

STYLE = (
    "text{font:12px ui-monospace,Menlo,Consolas,monospace;fill:#1f2937}"
    ".name{font-weight:bold;font-size:13px}.package{fill:#f3f4f6;stroke:#9ca3af}"
    ".level{fill:#e5e7eb}.folder{fill:#fff;stroke:#374151}.module{fill:none;stroke:#9ca3af;"
    "stroke-dasharray:3 2}path{fill:none;stroke:#374151;stroke-width:1.5}"
)


@cache
def module_imports() -> Imports:
    """All imports between our modules, also those inside functions and for type checking."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def imports_inside(package: str) -> Imports:
    """The imports between what lies directly in a package, folders and modules alike."""
    result: dict[str, set[str]] = {}
    for module, imported in module_imports().items():
        source = _part(module, package)
        if source is not None:
            parts = {_part(other, package) for other in imported} - {source}
            result.setdefault(source, set()).update(part for part in parts if part)
    return result


def _part(module: str, package: str) -> str | None:
    """The folder or module directly in the package that a module belongs to."""
    parts = module.split(".")
    return parts[1] if parts[0] == package and len(parts) > 1 else None


def levels(imports: Imports) -> list[list[str]]:
    """The names from top to bottom: each imports only names of lower levels.

    Raises:
        graphlib.CycleError: some import one another in a circle.
    """
    height: dict[str, int] = {}
    for name in TopologicalSorter(imports).static_order():  # what is imported comes first
        height[name] = 1 + max((height[other] for other in imports.get(name, ())), default=-1)
    tops = sorted(set(height.values()), reverse=True)
    return [sorted(name for name in height if height[name] == top) for top in tops]


def users_of(package: str) -> set[str]:
    """The other packages that import from a package."""
    return {
        module.partition(".")[0]
        for module, imported in module_imports().items()
        if any(other.partition(".")[0] == package for other in imported)
    } - {package}


def draw() -> str:
    """The picture as SVG."""
    shapes: list[str] = []
    top, middle = float(MARGIN), {}
    for package in PACKAGES:
        if package != STORE:
            drawn, height = _package(package, MARGIN, top, WIDTH)
            shapes += drawn
            middle[package] = top + height / 2
            top += height + 2.5 * GAP
            if package != PACKAGES[-2]:
                shapes.append(_arrow(f"M{MARGIN + NAME / 2} {top - 2.5 * GAP:g}V{top - 3:g}"))
    using = [middle[package] for package in sorted(users_of(STORE), key=PACKAGES.index)]
    left = MARGIN + WIDTH + 4 * GAP
    begin = min(using) - 2 * BOX
    drawn, height = _package(STORE, left, begin, STORE_WIDTH, max(using) - begin + 2 * BOX)
    shapes += [*drawn, *(_arrow(f"M{MARGIN + WIDTH} {y:g}H{left - 3:g}") for y in using)]
    width, bottom = left + STORE_WIDTH + MARGIN, max(top, begin + height + MARGIN)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{bottom:g}" '
            f'viewBox="0 0 {width:g} {bottom:g}">',
            f"<style>{STYLE}</style>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto"><path d="M1 1L7 4L1 7"/></marker></defs>',
            '<rect width="100%" height="100%" fill="#fff"/>',
            *shapes,
            "</svg>\n",
        ]
    )


def _package(
    package: str, left: float, top: float, width: float, least: float = 0
) -> tuple[list[str], float]:
    """The shapes of a package, and its height, which is at least `least`."""
    y = top + GAP + (BOX if package == STORE else 0)
    inner = left + (GAP if package == STORE else NAME)
    shapes = []
    for level in levels(imports_inside(package)):
        lines = _lines(package, level, left + width - 2 * GAP - inner)
        height = len(lines) * (BOX + GAP) + GAP / 2
        shapes.append(_box("level", inner, y, left + width - GAP - inner, height))
        for row, line in enumerate(lines):
            x = inner + GAP
            for label, size in line:
                at = y + GAP * 0.75 + row * (BOX + GAP)
                shapes.append(_box("folder" if label.endswith("/") else "module", x, at, size, BOX))
                shapes.append(_text(label, x + PADDING, at + 16))
                x += size + GAP
        y += height + GAP / 2
    height = max(y - top + GAP / 2, least)
    name = _text(
        package, left + PADDING, top + (20 if package == STORE else height / 2 + 4), "name"
    )
    return [_box("package", left, top, width, height), name, *shapes], height


def _lines(package: str, names: list[str], width: float) -> Rows:
    """The boxes of a level, in as many lines as they need."""
    lines: Rows = [[]]
    for name in names:
        label = f"{name}/" if (ROOT / package / name).is_dir() else name
        size = round(len(label) * LETTER * 1.1 + 2 * PADDING)
        if lines[-1] and sum(each + GAP for _, each in lines[-1]) + size > width:
            lines.append([])
        lines[-1].append((label, size))
    return lines


def _box(kind: str, x: float, y: float, width: float, height: float) -> str:
    return (
        f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4"/>'
    )


def _text(words: str, x: float, y: float, kind: str = "label") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{words}</text>'


def _arrow(path: str) -> str:
    return f'<path d="{path}" marker-end="url(#tip)"/>'


if __name__ == "__main__":
    PICTURE.write_text(draw())
