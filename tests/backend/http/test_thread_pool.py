import asyncio
import threading

import pytest

from backend.http.cache import LruCache, Throttle
from backend.http.thread_pool import BoundedThreadPool, BusyError


def test_a_full_line_is_refused_and_opens_again():
    pool = BoundedThreadPool("test", 1, waiting=1)
    gate = threading.Event()

    async def scenario() -> None:
        waiting = [asyncio.create_task(pool.run(gate.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await pool.run(gate.wait)
        gate.set()
        assert await asyncio.gather(*waiting) == [True, True]
        assert await pool.run(threading.current_thread) is not threading.main_thread()

    asyncio.run(scenario())
    pool.close()


def test_exceptions_come_to_the_caller_and_free_the_place():
    pool = BoundedThreadPool("test", 1, waiting=0)

    async def scenario() -> None:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await pool.run(divmod, 1, 0)

    asyncio.run(scenario())
    pool.close()


def test_what_was_used_longest_ago_is_forgotten():
    cache: LruCache[str, int] = LruCache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert cache.get("b") is None
    assert (cache.get("a"), cache.get("c")) == (1, 3)


def test_a_throttle_lets_each_key_pass_once():
    throttle = Throttle(3600)
    assert throttle.passes("a")
    assert not throttle.passes("a")
    assert throttle.passes("b")
    assert Throttle(0).passes("a")
