"""Compares learning curves of our strategies with scikit-activeml's on real images.

    python -m benchmarks.selection.curves [--seeds 10] [--sets NAME …] [--arms NAME …] [--rounds 15]

Needs the extras `worker` and `dev`, and what is in benchmarks/selection/requirements.txt. Of each
set a quarter is tested on, the rest is the pool; of sets with wrong labels, the pool's are wrong.
A strategy is developed on `datasets.DEVELOP` and tried on `datasets.KEPT_ASIDE` when it is done.
All arms have the same pool, features and head, and all but `random` begin with the same BATCH
images, those of `auto`. Results are kept, a line a run, in benchmarks/out/selection-curves.jsonl
(of other numbers of rounds in files of their own): what is there isn't run again; `--report` adds
it up.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.selection import datasets, summary
from benchmarks.selection.oracle import oracle
from benchmarks.support.report import OUT
from model.active_learning.simulation import Chooser, Replay, Round, by_name, replay
from model.selection import rows_by
from model.selection.registry import STRATEGIES, Pool

BATCH, ROUNDS = 20, 15
ALL = "all"  # everything is labelled at once
ORACLE = "oracle"  # greedy look-ahead on the truth, see `benchmarks.selection.oracle`
BASE = ("random", "kmeans+random")
# Quick ones first, so that an unfinished run says most.
ARMS = (
    *BASE,
    "auto",
    "UncertaintySampling-margin",
    "Falcun",
    "MaxHerding",
    "TypiClust",
    "UncertaintySampling-confidence",
    "UncertaintySampling-entropy",
    "Clue",
    "CoreSet",
    "QueryByCommittee",
    "GreedyBALD",
    "ContrastiveAL",
    "GreedySamplingX",
    "DropQuery",
    "ProbCover",
    "DiscriminativeAL",
    "Badge",
    "BatchBALD",
    "ProbabilisticAL",
    "CostEmbeddingAL",
    "FourDs",
)


def chooser(arm: str) -> Chooser:
    """Of ours by name, else scikit-activeml's."""
    if arm.partition("+")[0] in STRATEGIES.names():
        return by_name(arm)
    from benchmarks.selection.baselines import opponent  # needs scikit-activeml

    return opponent(arm)


def first_batch(data: Replay, seed: int) -> NDArray[np.intp]:
    """What `auto` begins with."""
    x = np.asarray(data.x, np.float32)
    return rows_by("auto", Pool(x, (), seed * 1000), BATCH)


def run(name: str, arm: str, seed: int, rounds: int = ROUNDS) -> list[Round]:
    """One run of one arm."""
    known = datasets.load(name)
    data = datasets.split(known, seed=seed)
    if arm == ALL:
        return replay(data, by_name("random"), batch=len(data.x), rounds=1, seed=seed)
    choose = oracle(data) if arm == ORACLE else chooser(arm)
    first = None if arm == "random" else first_batch(data, seed)
    return replay(data, choose, batch=BATCH, rounds=rounds, seed=seed, first=first)


def results(rounds: int) -> Path:
    """The file of runs of so many rounds."""
    return OUT / f"selection-curves{'' if rounds == ROUNDS else f'-{rounds}'}.jsonl"


def kept(file: Path) -> dict[tuple[str, str, int], list[Round]]:
    """The runs that are in the file, by set, arm and seed."""
    runs: dict[tuple[str, str, int], list[Round]] = {}
    for line in file.read_text().splitlines() if file.exists() else []:
        found = json.loads(line)
        rounds = [Round(*done) for done in found["rounds"]]
        runs[found["set"], found["arm"], found["seed"]] = rounds
    return runs


def main() -> int:
    """Run what is missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="the first that isn't run")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--sets", nargs="+", default=datasets.NAMES, choices=datasets.NAMES)
    parser.add_argument("--arms", nargs="+", default=(ALL, *ARMS, ORACLE))
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of {BATCH} labels each")
    parser.add_argument("--report", action="store_true", help="run nothing")
    given = parser.parse_args()
    seeds = range(given.first_seed, given.seeds)
    if not given.report:
        with threadpool_limits(1, "blas"):
            _run_missing(given.sets, given.arms, seeds, given.rounds)
    known = kept(results(given.rounds))
    runs = {run: rounds for run, rounds in known.items() if run[2] in seeds}
    summary.report(runs, [name for name in given.sets if any(run[0] == name for run in runs)], OUT)
    return 0


def _run_missing(sets: Sequence[str], arms: Sequence[str], seeds: Sequence[int], many: int) -> None:
    for seed in seeds:
        for name in sets:
            for arm in arms:
                if (name, arm, seed) in kept(results(many)):
                    continue
                began = time.process_time()
                rounds = run(name, arm, seed, many)
                found = {
                    "set": name,
                    "arm": arm,
                    "seed": seed,
                    "rounds": [
                        (done.labels, round(done.accuracy, 5), round(done.query_seconds, 4))
                        for done in rounds
                    ],
                }
                with results(many).open("a") as file:
                    file.write(json.dumps(found) + "\n")
                thirds = np.array_split([done.accuracy for done in rounds], min(3, len(rounds)))
                means = " ".join(f"{np.mean(third):.1%}" for third in thirds)
                seconds = time.process_time() - began
                print(f"{name}, seed {seed}, {arm}: {means}; {seconds:.1f} s of CPU", flush=True)


if __name__ == "__main__":
    sys.exit(main())
