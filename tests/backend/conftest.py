"""A real broker for all tests of the backend, a store and a web process for each."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from redis import Redis

from backend.inference.app import create_inference_app
from backend.inference.client import socket_path
from store.projects.connections import save_connection
from store.projects.projects import Project
from store.settings import Settings
from store.store import Store
from tests.support.image_server import Images
from tests.support.web import Running, add_project, running, serving
from worker.queues.broker import Broker


@pytest.fixture(scope="session")
def broker_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker, shared; each test empties it first."""
    broker = Broker(tmp_path_factory.mktemp("broker"))
    broker.start()
    yield broker.url
    broker.stop()


@pytest.fixture
def web_settings(tmp_path: Path, broker_address: str) -> Settings:
    """Settings of a fresh installation."""
    with Redis.from_url(broker_address) as redis:
        redis.flushall()
    return Settings(
        home=tmp_path / "home", redis_url=broker_address, predict_seconds=5, blind_share=0
    )


@pytest.fixture
def web(web_settings: Settings) -> Iterator[Running]:
    """A web process with an empty store."""
    with running(web_settings) as started:
        yield started


@pytest.fixture
def project(web: Running) -> Project:
    """The recorded project, connected."""
    return add_project(web.store)


@pytest.fixture(scope="module")
def web_module(tmp_path_factory: pytest.TempPathFactory, broker_address: str) -> Iterator[Running]:
    """A web process for the tests of a module that leave nothing behind."""
    home = tmp_path_factory.mktemp("module") / "home"
    with running(Settings(home=home, redis_url=broker_address, blind_share=0)) as started:
        yield started


@pytest.fixture(scope="module")
def module_settings(
    tmp_path_factory: pytest.TempPathFactory, broker_address: str, backbones: Path
) -> Settings:
    """Settings whose exported backbone is kept from one test run to the next."""
    home = tmp_path_factory.mktemp("inference") / "home"
    home.mkdir(mode=0o700)
    (home / "backbones").symlink_to(backbones)
    return Settings(home=home, redis_url=broker_address, predict_seconds=20, blind_share=0)


@pytest.fixture(scope="module")
def inference(module_settings: Settings) -> Iterator[FastAPI]:
    """The inference process's application on its unix socket, with the real backbone."""
    socket = socket_path(module_settings)
    socket.parent.mkdir(mode=0o700, parents=True)
    app = create_inference_app(module_settings)
    with serving(app, uds=str(socket)):
        yield app


@pytest.fixture
def images() -> Iterator[Images]:
    """A server with images."""
    server = Images()
    yield server
    server.close()


@pytest.fixture
def store(module_settings: Settings, inference: FastAPI, images: Images) -> Iterator[Store]:
    """The inference process's store; its default connection is the server with images."""
    opened = Store.open(module_settings, migrate=True)
    opened.database.write(lambda db: save_connection(db, "default", images.url, "token"))
    yield opened
    opened.close()


@pytest.fixture
def asking(module_settings: Settings, store: Store) -> Iterator[httpx.Client]:
    """A client on the inference process's socket."""
    transport = httpx.HTTPTransport(uds=str(socket_path(module_settings)))
    with httpx.Client(transport=transport, base_url="http://x", timeout=60) as client:
        yield client
