"""Two web processes and four workers with homes of their own: PostgreSQL, Redis with TLS, S3.

The long run with 5,000 shards and many kills is `python -m benchmarks cluster`.
"""

import math
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from services.embedding.bulk_embedding import LOADERS
from tests.support.cluster import Cluster
from tests.support.cluster_worker import PixelEmbedder
from tests.support.redis_server import PASSWORD, RedisServer
from tests.support.workshop import eventually

WORKERS = ("worker-1", "worker-2", "worker-3", "worker-4")
SHARD = 4
# More than four workers read ahead, so that each finds shards while none is done.
AHEAD = 4 * PixelEmbedder.batch_size + LOADERS
IMAGES = SHARD * (len(WORKERS) + 1) * math.ceil(AHEAD / SHARD)


@pytest.fixture
def cluster(
    tmp_path: Path, postgres: str, bundled_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cluster]:
    s3 = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    s3.start()
    host, port = s3.get_host_and_port()
    amazon = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in amazon.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="models")
    client.close()
    with bundled_redis.admin() as admin:
        admin.flushall()
    environment = {
        "APPRENTICE_DATABASE_URL": postgres,
        "APPRENTICE_REDIS_URL": bundled_redis.url(),
        "APPRENTICE_REDIS_PASSWORD": PASSWORD,
        "APPRENTICE_REDIS_CA_FILE": str(bundled_redis.ca),
        "APPRENTICE_STORAGE_URL": "s3://models/apprentice",
        "APPRENTICE_BACKBONE": "small:a",
        "APPRENTICE_SHARD_IMAGES": str(SHARD),
        "APPRENTICE_IMAGE_PRIVATE_ADDRESSES": "true",
    }
    made = Cluster.make(tmp_path, environment)
    try:
        yield made
    finally:
        sys.stdout.write(made.logs())  # shown when the test fails
        made.close()
        s3.stop()


@pytest.mark.slow
def test_shards_are_done_once_although_a_worker_and_the_leader_are_killed(cluster: Cluster) -> None:
    cluster.start("web-1", "serve")
    for worker in WORKERS:
        cluster.start(worker)
    eventually(lambda: cluster.workers() == len(WORKERS), "web-1 leads and counts all workers")
    cluster.start("web-2", "serve")
    with cluster.embedding_held():
        cluster.add_images(IMAGES)
        eventually(lambda: len(cluster.claiming()) == len(WORKERS), "all workers have shards")
        cluster.kill("worker-1")
        cluster.kill("web-1")
        assert cluster.done() == []
    eventually(lambda: cluster.embedded() == IMAGES, "all images are embedded")
    done = cluster.done()
    assert Counter(number for number, _ in done) == Counter(range(IMAGES // SHARD))
    assert len({worker for _, worker in done}) == len(WORKERS) - 1
    assert cluster.jobs_at_once("embed") <= 1
