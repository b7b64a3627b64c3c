"""Sets of emoji, flags and icons, drawn from the Iconify packages.

Emoji: Noto (Apache-2.0), Twemoji (CC-BY-4.0), OpenMoji (CC-BY-SA-4.0), Fluent Emoji Flat (MIT),
Firefox OS Emoji (Apache-2.0), EmojiOne 2 (CC-BY-4.0). Flags: flag-icons and Circle Flags (MIT).
Icons: the packages of ICONS; their licences are in packages.txt.
"""

import io
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image

from benchmarks.selection.datasets.composing import (
    SIDE,
    background,
    camera,
    paste,
    photographs,
    stamp,
)
from benchmarks.selection.datasets.dataset import Images, Labelled, tail_sizes
from benchmarks.selection.datasets.packages import categories, icons

EMOJI = ("noto", "twemoji", "openmoji", "fluent-emoji-flat", "fxemoji", "emojione")
FLAGS = ("flag", "circle-flags")
ICONS = (
    "bi",
    "bx",
    "carbon",
    "fa6-solid",
    "heroicons",
    "ic",
    "iconoir",
    "ion",
    "lucide",
    "mdi",
    "mingcute",
    "ph",
    "ri",
    "solar",
    "tabler",
)
DRAWN = 144  # pixels of a drawing before it is placed
BOX = (("left", 0), ("top", 0), ("width", 16), ("height", 16))
GROUPS = (
    "Smileys & Emotion",
    "People & Body",
    "Animals & Nature",
    "Food & Drink",
    "Travel & Places",
    "Activities",
    "Objects",
    "Symbols",
)
PER_GROUP = 60  # emoji of a group from each pack
COUNTRIES = (
    "fr it hu ro be nl ru hr pl at es pt se no dk fi jp br cl cz gr tr us my lr ke za in th ar"
)
WORDS = (
    "home star heart bell camera cloud key lock mail phone folder file user calendar clock "
    "cart gift car bus train plane tree sun moon battery book chart credit globe tag"
)
PER_WORD = 80  # designs
STAMPS, PER_STAMP = 100, 28
FILMS, FRAMES, ACTORS = 120, 18, 12
TAIL = 50  # times as many flags of the commonest country as of the rarest


@lru_cache(1_000)
def drawing(pack: str, name: str, colour: str = "#000") -> Image.Image:
    """An icon (RGBA); `colour` is that of one-coloured packs."""
    import resvg_py

    known = icons(pack)
    icon = known["icons"][name]
    box = [icon.get(key, known.get(key, usual)) for key, usual in BOX]
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{" ".join(map(str, box))}" color="{colour}">{icon["body"]}</svg>'
    )
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=DRAWN, skip_system_fonts=True))
    picture = Image.open(io.BytesIO(png)).convert("RGBA")
    square = Image.new("RGBA", (DRAWN, DRAWN))
    picture.thumbnail(square.size)
    square.paste(picture, ((DRAWN - picture.width) // 2, (DRAWN - picture.height) // 2))
    return square


def emoji_groups() -> Labelled:
    """The chart's groups of emoji: eight classes, each of many kinds of picture."""
    rng = np.random.default_rng(0)
    images, y = [], []
    for pack in EMOJI:
        for name, group in _grouped(pack, rng):
            canvas = Image.new("RGB", (SIDE, SIDE), _pastel(rng))
            paste(canvas, stamp(drawing(pack, name), rng, 0.5, 0.9, 15), rng)
            images.append(canvas)
            y.append(GROUPS.index(group))
    return Labelled(images, np.array(y))


def _grouped(pack: str, rng: np.random.Generator) -> list[tuple[str, str]]:
    found = []
    for group in GROUPS:
        names = [
            name
            for name in sorted(categories("noto")[group])
            if name in icons(pack)["icons"] and "skin-tone" not in name
        ]
        found += [(str(name), group) for name in rng.permutation(names)[:PER_GROUP]]
    return found


def _pastel(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(v) for v in rng.integers(150, 256, size=3))
    return red, green, blue


def stamps() -> Labelled:
    """A hundred kinds of emoji, each by several artists, pasted on pieces of photographs."""
    rng = np.random.default_rng(0)
    pictures = photographs()
    images, y = [], []
    for label, name in enumerate(_shared(STAMPS, rng)):
        packs = [pack for pack in EMOJI if name in icons(pack)["icons"]]
        for _ in range(PER_STAMP):
            images.append(_stamped(packs, name, pictures, rng))
            y.append(label)
    return Labelled(images, np.array(y))


def _shared(many: int, rng: np.random.Generator) -> list[str]:
    """Names of emoji of things, living ones too, that at least four packs have."""
    things = {name for group in GROUPS[2:7] for name in categories("noto")[group]}
    names = [
        name for name in sorted(things) if sum(name in icons(pack)["icons"] for pack in EMOJI) >= 4
    ]
    return [str(name) for name in rng.permutation(names)[:many]]


def _stamped(
    packs: Sequence[str], name: str, pictures: Images, rng: np.random.Generator
) -> Image.Image:
    canvas = background(pictures, rng)
    pack = packs[int(rng.integers(len(packs)))]
    paste(canvas, stamp(drawing(pack, name), rng, 0.4, 0.8, 25), rng)
    return camera(canvas, rng)


def clips() -> Labelled:
    """Frames of short films: a camera drifts over a photograph, an emoji over the frames.

    One of ACTORS kinds of emoji a film; the films are the groups.
    """
    rng = np.random.default_rng(0)
    pictures = photographs()
    names = _shared(ACTORS, rng)
    images: Images = []
    films = np.repeat(np.arange(FILMS), FRAMES)
    for film in range(FILMS):
        name = names[film % ACTORS]
        packs = [pack for pack in EMOJI if name in icons(pack)["icons"]]
        images += _film(drawing(packs[int(rng.integers(len(packs)))], name), pictures, rng)
    return Labelled(images, films % ACTORS, films)


def _film(piece: Image.Image, pictures: Images, rng: np.random.Generator) -> Images:
    picture = pictures[rng.integers(len(pictures))]
    window = int(min(picture.size) * rng.uniform(0.3, 0.5))
    start, end = (
        [int(rng.integers(0, length - window)) for length in picture.size] for _ in range(2)
    )
    sides, turns = rng.uniform(0.3, 0.6, size=2), rng.uniform(-30, 30, size=2)
    places = rng.uniform(0, 1, size=(2, 2))
    light = rng.uniform(0.6, 1.2)
    frames = []
    for time in np.linspace(0, 1, FRAMES):
        left, top = (round(a + time * (b - a)) for a, b in zip(start, end, strict=True))
        canvas = picture.crop((left, top, left + window, top + window)).resize((SIDE, SIDE))
        side = int(SIDE * (sides[0] + time * (sides[1] - sides[0])))
        shown = piece.resize((side, side)).rotate(turns[0] + time * (turns[1] - turns[0]))
        x, y = ((places[0] + time * (places[1] - places[0])) * (SIDE - side)).astype(int)
        canvas.paste(shown, (int(x), int(y)), shown)
        frames.append(camera(canvas, rng, (0.95 * light, 1.05 * light), 15))
    return frames


def flags() -> Labelled:
    """Thirty countries' flags in the wind; of the first, TAIL times as many as of the last."""
    rng = np.random.default_rng(0)
    pictures = photographs()
    countries = COUNTRIES.split()
    sizes = tail_sizes(len(countries), 300, TAIL)
    images, y = [], []
    for label, (country, size) in enumerate(zip(countries, sizes, strict=True)):
        for _ in range(size):
            pack = FLAGS[rng.integers(2)]
            piece = drawing(pack, country + ("-4x3" if pack == "flag" else ""))
            canvas = background(pictures, rng)
            paste(canvas, stamp(_waving(piece, rng), rng, 0.25, 0.6, 40), rng)
            images.append(camera(canvas, rng))
            y.append(label)
    return Labelled(images, np.array(y))


def _waving(piece: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The columns shifted up and down by a sine."""
    pixels = np.array(piece)
    height, width = pixels.shape[:2]
    phase, height_of_wave = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.1) * height
    shifts = height_of_wave * np.sin(phase + np.linspace(0, rng.uniform(3, 9), width))
    rows = (np.arange(height)[:, None] + shifts.round().astype(int)) % height
    return Image.fromarray(pixels[rows, np.arange(width)])


def icon_names() -> Labelled:
    """Thirty things, each in many designs and colours."""
    rng = np.random.default_rng(0)
    images, y = [], []
    for label, word in enumerate(WORDS.split()):
        designs = [
            (pack, name)
            for pack in ICONS
            for name in sorted(icons(pack)["icons"])
            if word in name.split("-")[:2]
        ]
        for pack, name in rng.permutation(designs)[:PER_WORD]:
            dark = "#" + "".join(f"{int(v):02x}" for v in rng.integers(0, 140, size=3))
            canvas = Image.new("RGB", (SIDE, SIDE), _pastel(rng))
            paste(canvas, stamp(drawing(str(pack), str(name), dark), rng, 0.3, 0.8, 10), rng)
            images.append(camera(canvas, rng))
            y.append(label)
    return Labelled(images, np.array(y))
