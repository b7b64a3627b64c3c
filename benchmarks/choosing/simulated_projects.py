"""Simulated projects of known truth, labelled in shortlists as by annotators.

Images are overlapping clusters in 16 dimensions, and heads are linear discriminants, since they are
fitted in a millisecond. Everything else is what the product runs: the cold start, the shortlist
with its random share, folds, one temperature.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.active_learning.accuracy_audit import Draws, LabelledImages
from model.selection import Pool, ShortlistRequest, cold_start, shortlist
from model.statistics.calibration import fit_temperature, softmax
from model.statistics.folds import grouped_folds

DIM = 16
LIST = 20  # tasks of a shortlist
FOLDS = 5

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Discriminant:
    """A linear discriminant; a class without a label is never said."""

    weight: Floats
    bias: Floats

    @classmethod
    def fit(cls, x: Floats, y: NDArray[np.integer], classes: int) -> "Discriminant":
        count = np.bincount(y, minlength=classes)
        sums = np.zeros((classes, x.shape[1]))
        np.add.at(sums, y, x)
        means = sums / np.maximum(count, 1)[:, None]
        gaps = x - means[y]
        covariance = gaps.T @ gaps / max(len(y) - classes, 1) + 0.3 * np.eye(x.shape[1])
        weight = np.linalg.solve(covariance, means.T)
        bias = np.log(np.maximum(count, 1) / len(y)) - 0.5 * (means.T * weight).sum(axis=0)
        return cls(weight, np.where(count > 0, bias, -1e9))

    def logits(self, x: Floats) -> NDArray[np.float32]:
        return np.asarray(x @ self.weight + self.bias, np.float32)


@dataclass
class Simulated:
    """A project of `images` images; `noise` of all labels are drawn at random.

    `relearn` labels come between two versions, `audit` of the picks are random.
    """

    seed: int
    images: int
    classes: int
    spread: float  # of the classes' centres
    noise: float = 0.0
    relearn: int = 10
    audit: float = 0.1
    labelled: list[int] = field(default_factory=list)  # in order
    drawn: list[int] = field(default_factory=list)  # of these, at random
    before: list[int] = field(default_factory=list)  # labelled before each of `drawn` was drawn
    closed: set[int] = field(default_factory=set)  # nobody is asked about these

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        centres = rng.normal(size=(self.classes, DIM)) * self.spread
        share = rng.dirichlet(np.full(self.classes, 3.0))
        truth = rng.choice(self.classes, self.images, p=share)
        self.x = (centres[truth] + rng.normal(size=(self.images, DIM))).astype(np.float32)
        noisy = rng.random(self.images) < self.noise
        self.y = np.where(noisy, rng.integers(0, self.classes, self.images), truth)
        self.learned_from = 0
        self.head: Discriminant | None = None
        self.temperature = 1.0
        self.unseen = np.empty((0, self.classes), np.float32)  # outputs out of fold, by order

    @property
    def open(self) -> NDArray[np.intp]:
        """The images that are neither labelled nor closed."""
        taken = np.fromiter(self.closed.union(self.labelled), np.intp)
        return np.setdiff1d(np.arange(self.images), taken)

    def run(self, labels: int) -> Iterator[int]:
        """Label so many, one at a time; what is yielded is how many there are."""
        for pick in cold_start(Pool(self.x, (), self.seed), ShortlistRequest(LIST)):
            self.labelled.append(pick.index)
        self.learn()
        waiting: dict[int, int] = {}  # drawn and not labelled: when it was drawn
        while len(self.labelled) < labels and len(self.open):
            pool = self.open
            row = {int(image): index for index, image in enumerate(pool)}
            assert self.head is not None
            predicted = softmax(self.head.logits(self.x[pool]), temperature=self.temperature)
            seed = self.seed * 100_003 + len(self.labelled)
            request = ShortlistRequest(
                LIST,
                random_share=self.audit,
                drawn_before={row[image]: None for image in waiting if image in row},
            )
            picks = shortlist(Pool(self.x[pool], (predicted,), seed), request)
            count = len(self.labelled)
            for pick in picks:
                if pick.strategy == "random":
                    waiting.setdefault(int(pool[pick.index]), count)
            for pick in picks[: self.relearn]:
                image = int(pool[pick.index])
                self.labelled.append(image)
                if pick.strategy == "random":
                    self.drawn.append(image)
                    self.before.append(waiting.pop(image))
                yield len(self.labelled)
            self.learn()

    def learn(self) -> None:
        """A version of all labels."""
        rows = np.array(self.labelled)
        x, y = self.x[rows], self.y[rows]
        self.head = Discriminant.fit(x, y, self.classes)
        folds = grouped_folds(y, np.arange(len(rows)), FOLDS, seed=0)
        self.unseen = np.empty((len(rows), self.classes), np.float32)
        for fold in range(FOLDS):
            held = folds == fold
            head = Discriminant.fit(x[~held], y[~held], self.classes)
            self.unseen[held] = head.logits(x[held])
        self.temperature = fit_temperature(self.unseen, y)
        self.learned_from = len(rows)

    def answers(self, images: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """What the version says of images: classes [N] and how sure it is [N]."""
        assert self.head is not None
        p = softmax(self.head.logits(self.x[images]), temperature=self.temperature)
        return p.argmax(axis=1), p.max(axis=1)

    def honest(self) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """The same of the labelled images in order, by heads that had not seen their labels."""
        p = softmax(self.unseen, temperature=self.temperature)
        said, sure = p.argmax(axis=1), p.max(axis=1)
        later = np.array(self.labelled[self.learned_from :], np.intp)
        if len(later):
            more, how = self.answers(later)
            said, sure = np.concatenate([said, more]), np.concatenate([sure, how])
        return said, sure

    def draws(self) -> tuple[Draws, LabelledImages]:
        """The random picks, and where the model is right, and how sure, among the labelled [N]."""
        said, sure = self.honest()
        right = said == self.y[np.array(self.labelled)]
        place = {image: index for index, image in enumerate(self.labelled)}
        at = np.array([place[image] for image in self.drawn], np.intp)
        return Draws(at, np.array(self.before, np.intp)), LabelledImages(right * 1.0, sure)
