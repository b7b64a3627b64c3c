"""The data sets by name: where their images are from, and which are kept aside."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.selection.datasets import (
    brain,
    cards,
    classic,
    counts,
    fonts,
    iconify,
    surfaces,
)
from benchmarks.selection.datasets.dataset import Dataset, Labelled, with_wrong_answers
from benchmarks.selection.datasets.embedding import features
from benchmarks.support.report import OUT


@dataclass(frozen=True)
class Source:
    """What makes a set, and where its images are from, with the licence."""

    make: Callable[[str], Dataset]
    images: str


def _frozen(source: Callable[[], Labelled]) -> Callable[[str], Dataset]:
    """The features of a source's images by the frozen backbone."""

    def make(name: str) -> Dataset:
        labelled = source()
        return Dataset.of(name, features(labelled.images), labelled.y, labelled.groups)

    return make


PHOTOGRAPHS = "photographs: scikit-learn (CC-BY-2.0), scikit-image (CC0, public domain)"
PASTED_ON = "photographs as those of scenes"
EMOJI = "Iconify's emoji (Apache-2.0, CC-BY-4.0, CC-BY-SA-4.0, MIT)"
FLAGS = "Iconify's flags (MIT)"
ICONS = "Iconify's icons (MIT, Apache-2.0, ISC, CC-BY-4.0)"
FONTS = "Fontsource (OFL-1.1, Apache-2.0)"
TEXTILES = "conformal-clip-data (MIT)"

# Strategies are developed on these.
DEVELOP_SOURCES = {
    "digits": Source(_frozen(classic.digits), "scikit-learn (BSD-3-Clause)"),
    "textiles": Source(_frozen(classic.textiles), TEXTILES),
    "solar-cells": Source(_frozen(classic.solar_cells), "elpv-dataset (CC-BY-NC-SA-4.0)"),
    "scenes": Source(_frozen(classic.scenes), PHOTOGRAPHS),
    "textiles-tuned": Source(classic.tuned_textiles, TEXTILES),
    "emoji-groups": Source(_frozen(iconify.emoji_groups), EMOJI),
    "letters": Source(_frozen(fonts.letters), FONTS),
    "faults": Source(_frozen(surfaces.faults), "scikit-image's textures (CC0)"),
    "digits-wrong-answers": Source(
        lambda name: with_wrong_answers(load("digits"), name, 0.1), "those of digits"
    ),
    "scenes-long-tail": Source(_frozen(classic.long_tailed_scenes), PHOTOGRAPHS),
}
# Only looked at when a strategy is done.
KEPT_ASIDE_SOURCES = {
    "stamps-100": Source(_frozen(iconify.stamps), f"{EMOJI}; {PASTED_ON}"),
    "flags-long-tail": Source(_frozen(iconify.flags), f"{FLAGS}; {PASTED_ON}"),
    "clips": Source(_frozen(iconify.clips), f"{EMOJI}; {PASTED_ON}"),
    "icons": Source(_frozen(iconify.icon_names), ICONS),
    "typefaces": Source(_frozen(fonts.typefaces), FONTS),
    "textures": Source(_frozen(surfaces.textures), "scikit-image (CC0, public domain)"),
    "cards-wrong-answers": Source(
        lambda name: with_wrong_answers(_frozen(cards.cards)(name), name, 0.1),
        f"arcade (Kenney, CC0); {PASTED_ON}",
    ),
    "brain": Source(_frozen(brain.slices), "nilearn (BSD-3-Clause; the template's unknown)"),
    "counts": Source(_frozen(counts.counts), "made by the code"),
}
SOURCES = DEVELOP_SOURCES | KEPT_ASIDE_SOURCES
DEVELOP = tuple(DEVELOP_SOURCES)
KEPT_ASIDE = tuple(KEPT_ASIDE_SOURCES)
NAMES = (*DEVELOP, *KEPT_ASIDE)


def load(name: str) -> Dataset:
    """The set of that name, from benchmarks/out where it was computed before."""
    file = OUT / f"selection-{name}.npz"
    if not file.exists():
        OUT.mkdir(exist_ok=True)
        made = SOURCES[name].make(name)
        np.savez(file, x=made.x, y=made.y, answers=made.answers, groups=made.groups)
    with np.load(file) as arrays:
        known = Dataset.of(name, arrays["x"], arrays["y"], arrays.get("groups"))
        return replace(known, answers=arrays.get("answers", known.answers))
