"""The stream of embeddings: every item is answered, and no more is held than is in work."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from model.embedding import Embedder, embed_stream


class BadImageError(Exception):
    pass


def load(item: Image.Image | str) -> Image.Image:
    if isinstance(item, str):
        raise BadImageError(item)
    return item


def test_every_item_is_answered_and_a_bad_one_by_its_exception(
    embedder: Embedder, textiles: list[Image.Image]
) -> None:
    items: list[Image.Image | str] = list(textiles)
    items[0] = items[17] = items[-1] = "not an image"
    results = dict(embed_stream(embedder, enumerate(items), load, workers=3))

    assert sorted(results) == list(range(len(items)))
    expected = embedder.embed([embedder.prepare(image) for image in textiles])
    for index, result in results.items():
        if isinstance(items[index], str):
            assert isinstance(result, BadImageError)
        else:
            assert isinstance(result, np.ndarray)
            np.testing.assert_allclose(result, expected[index], atol=2e-2)


@pytest.mark.parametrize("items", [[], ["bad"], ["bad"] * 100])
def test_it_ends_when_there_is_nothing_to_embed(embedder: Embedder, items: list[str]) -> None:
    results = list(embed_stream(embedder, enumerate(items), load, workers=2))

    assert len(results) == len(items)
    assert all(isinstance(result, BadImageError) for _, result in results)


def test_items_are_read_no_further_than_what_is_in_work(
    embedder: Embedder, textiles: list[Image.Image]
) -> None:
    read = answered = furthest = 0

    def items() -> Iterator[tuple[int, Image.Image]]:
        nonlocal read
        for index in range(200):
            read += 1
            yield index, textiles[index % len(textiles)]

    for _ in embed_stream(embedder, items(), load, workers=2):
        answered += 1
        furthest = max(furthest, read - answered)

    assert answered == 200
    assert furthest <= 5 * embedder.batch_size


def test_closing_early_leaves_no_thread_behind(
    embedder: Embedder, textiles: list[Image.Image]
) -> None:
    before = threading.active_count()
    stream = embed_stream(embedder, enumerate(textiles * 5), load, workers=2)
    next(stream)
    assert threading.active_count() > before
    stream.close()

    assert threading.active_count() == before


def test_a_failure_of_the_items_is_raised(embedder: Embedder, textiles: list[Image.Image]) -> None:
    def items() -> Iterator[tuple[int, Image.Image]]:
        yield 0, textiles[0]
        raise BadImageError("the list of tasks broke")

    with pytest.raises(BadImageError, match="list of tasks"):
        list(embed_stream(embedder, items(), load, workers=2))
