"""A broker and workers of its own for each test that asks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis_server import bundled_redis, redis_server
from tests.support.workshop import Workshop
from worker.queues.broker import Broker, redis_from_url

__all__ = ["bundled_redis", "redis_server"]  # fixtures


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A running broker."""
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def workshop(broker: Broker, tmp_path: Path) -> Iterator[Workshop]:
    """That broker, and no worker yet."""
    shop = Workshop(tmp_path, broker.url, redis_from_url(broker.url))
    yield shop
    for worker in shop.workers:
        worker.kill()
        worker.wait()
    shop.connection.close()
