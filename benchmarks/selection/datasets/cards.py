"""A set of playing cards: the pictures of the package arcade (by Kenney, CC0)."""

import numpy as np
from PIL import Image

from benchmarks.selection.datasets.composing import background, camera, paste, photographs, stamp
from benchmarks.selection.datasets.dataset import Images, Labelled
from benchmarks.selection.datasets.packages import folder

RANKS = ("A", "2", "3", "4", "5", "6", "7", "8", "9", "10", "J", "Q", "K")
SUITS = ("Clubs", "Diamonds", "Hearts", "Spades")
PER_CARD = 50


def cards() -> Labelled:
    """The thirteen ranks, of any suit, before photographs."""
    rng = np.random.default_rng(0)
    pictures = photographs()
    images: Images = []
    y = []
    for label, rank in enumerate(RANKS):
        for suit in SUITS:
            card = _card(suit, rank)
            for _ in range(PER_CARD):
                canvas = background(pictures, rng)
                paste(canvas, stamp(card, rng, 0.55, 0.9, 30), rng)
                images.append(camera(canvas, rng))
                y.append(label)
    return Labelled(images, np.array(y))


def _card(suit: str, rank: str) -> Image.Image:
    pictures = folder("arcade") / "resources/assets/images/cards"
    return Image.open(pictures / f"card{suit}{rank}.png").convert("RGBA")
