"""Measures several machines' worth of processes: are shards done once, and shared equally?

Two web processes and four workers have homes of their own, one PostgreSQL, one Redis (of PATH, or
the Valkey that Apprentice brings) and one S3 (moto's server). The first round has no trouble and
shows the shares; in the second one, workers and the web process that schedules are killed.
"""

import contextlib
import logging
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import boto3
from moto.server import ThreadedMotoServer

from benchmarks.support.harness import Options, wait
from benchmarks.support.report import Bar, Outcome
from tests.support.cluster import Cluster
from tests.support.postgres import MISSING, PostgresServer, find_binaries
from worker.queues.broker import running_broker

WEB = ("web-1", "web-2")
WORKERS = ("worker-1", "worker-2", "worker-3", "worker-4")
SHARD_IMAGES = 4
KILL_SECONDS = (1.0, 4.0)  # between two kills
PATIENCE = 1800.0  # seconds


def run(options: Options) -> Outcome:
    """Measure both rounds."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line for each request to S3
    shards = options.count(5_000, 1_000)
    with _cluster(shards) as cluster:
        calm_seconds = wait(lambda: _complete(cluster, shards), "all is embedded", PATIENCE)
        calm = cluster.done()
        shares = cluster.shares()
        fetched = Counter(cluster.images.asked.values())
    with _cluster(shards) as cluster:
        kills = _kill_until_complete(cluster, shards)
        killed = cluster.done()
        at_once = cluster.jobs_at_once("embed")
    spread = max(abs(share - 1) for share in shares.values()) * 100
    return Outcome(
        [
            Bar("shards done exactly once", "exactly", shards, _once(calm), ""),
            Bar("shards done exactly once, with kills", "exactly", shards, _once(killed), ""),
            Bar("workers that shared them", "exactly", len(WORKERS), len(shares), ""),
            Bar("largest distance from an equal share", "most", 20, spread, "%"),
            Bar("embedding jobs of the project at a time", "exactly", 1, at_once, ""),
        ],
        {
            "shares of the workers": sorted(round(share, 3) for share in shares.values()),
            "seconds without kills": round(calm_seconds, 1),
            "images by how often they were fetched": dict(sorted(fetched.items())),
            "kills": kills,
            "workers that did shards, with kills": len({worker for _, worker in killed}),
        },
    )


def _once(done: list[tuple[int, str]]) -> int:
    return sum(count == 1 for count in Counter(number for number, _ in done).values())


def _complete(cluster: Cluster, shards: int) -> bool:
    """Whether all images are embedded, asked seldom enough not to disturb."""
    time.sleep(0.5)
    return cluster.embedded() == shards * SHARD_IMAGES


def _kill_until_complete(cluster: Cluster, shards: int) -> dict[str, int]:
    """Kill a process every few seconds, and start it again; {what: how often}."""
    chance, kills = random.Random(11), Counter[str]()
    began = time.monotonic()
    while not _complete(cluster, shards):
        time.sleep(chance.uniform(*KILL_SECONDS))
        name = chance.choice((*WORKERS, *WEB))
        cluster.kill(name)
        kills[name.partition("-")[0]] += 1
        cluster.start(name, *(("serve",) if name in WEB else ()))
        assert time.monotonic() - began < PATIENCE, cluster.logs()
    return dict(kills)


@contextlib.contextmanager
def _cluster(shards: int) -> Iterator[Cluster]:
    """A cluster whose workers are there, and that has begun."""
    binaries = find_binaries()
    assert binaries is not None, MISSING
    with (
        tempfile.TemporaryDirectory(prefix="apprentice-cluster-") as folder,
        PostgresServer(binaries, fsync=True) as postgres,
        running_broker(Path(folder) / "broker") as redis_url,
        _s3() as amazon,
    ):
        environment = amazon | {
            "APPRENTICE_DATABASE_URL": postgres.url(),
            "APPRENTICE_REDIS_URL": redis_url,
            "APPRENTICE_STORAGE_URL": "s3://models/apprentice",
            "APPRENTICE_BACKBONE": "small:a",
            "APPRENTICE_SHARD_IMAGES": str(SHARD_IMAGES),
            "APPRENTICE_IMAGE_PRIVATE_ADDRESSES": "true",
        }
        cluster = Cluster.make(Path(folder), environment)
        try:
            for name in WEB:
                cluster.start(name, "serve")
            for name in WORKERS:
                cluster.start(name)
            wait(lambda: cluster.workers() == len(WORKERS), "the scheduler counts all workers")
            cluster.add_images(shards * SHARD_IMAGES)
            yield cluster
        except Exception:
            print(cluster.logs(), flush=True)
            raise
        finally:
            cluster.close()


@contextlib.contextmanager
def _s3() -> Iterator[dict[str, str]]:
    """The environment that reaches a server of S3 with a bucket."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    endpoint, region = f"http://{host}:{port}", "us-east-1"
    client = boto3.client("s3", endpoint_url=endpoint, region_name=region, **keys)
    client.create_bucket(Bucket="models")
    client.close()
    try:
        yield {name.upper(): value for name, value in keys.items()} | {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_DEFAULT_REGION": region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    finally:
        server.stop()
