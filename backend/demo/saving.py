"""Compares the demo's labels with labels of random images: how many would have been needed?"""

from collections.abc import Mapping

import numpy as np

from backend.demo.annotator import true_name
from model.active_learning.simulation import by_name, replay, split
from services.suggestions.predictor import Predictor
from store.projects.projects import Project
from store.store import Store
from store.tasks.tasks import list_tasks
from store.versions.versions import get_version

SEEDS = 5
STEPS, MOST = 8, 3.0  # looks at up to that many times the labels


def labels_at_random(
    store: Store, project: Project, truth: Mapping[str, str], labels: int, wrong: int
) -> int | None:
    """How many labels of random images leave as few images wrong, simulated on the same images.

    Args:
        truth: {name of the uploaded file: class}.
        labels: the fewest that are tried.
        wrong: the unlabelled images that are suggested wrong.

    Returns:
        The mean of SEEDS runs, between two steps; None where MOST times the labels leave more.
    """
    with store.database.read() as db:
        version = get_version(db, project.served_version_id or 0)
        tasks = [task for task in list_tasks(db, project.id) if task.image_key]
    if version is None:
        return None
    space = Predictor.load(store, version).space
    vectors = store.embeddings.get(space, [task.image_key or "" for task in tasks])
    tasks = [task for task in tasks if task.image_key in vectors]
    x = np.stack([vectors[task.image_key or ""] for task in tasks])
    y = np.unique([truth[true_name(task.uri or "")] for task in tasks], return_inverse=True)[1]
    step = max(round(labels * (MOST - 1) / STEPS), 1)
    left = []  # [seeds, steps] images that are suggested wrong
    for seed in range(SEEDS):
        data = split(x, y, seed=seed)
        first = np.random.default_rng(seed).permutation(len(data.x))[:labels]
        rounds = replay(
            data, by_name("random"), batch=step, rounds=STEPS + 1, seed=seed, first=first
        )
        left.append([(1 - done.accuracy) * (len(tasks) - done.labels) for done in rounds])
    curve = np.minimum.accumulate(np.mean(left, axis=0))
    counts = labels + step * np.arange(len(curve))
    if curve[-1] > wrong:
        return None
    return round(float(np.interp(-wrong, -curve, counts)))
