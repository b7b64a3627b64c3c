"""A job's wake-up reaches the scheduler, also after the broker was away."""

import threading
from pathlib import Path

from worker.jobs.wake_up import WakeUpListener, wake_scheduler
from worker.queues.broker import redis_from_url, running_broker


def test_a_wake_up_reaches_every_listener(tmp_path: Path) -> None:
    with running_broker(tmp_path) as url:
        redis = redis_from_url(url, retries=0)
        woken = [threading.Event(), threading.Event()]
        listeners = [WakeUpListener(redis_from_url(url, retries=0), event.set) for event in woken]
        for listener in listeners:
            listener.start()
        try:
            while not all(event.wait(0.05) for event in woken):
                wake_scheduler(redis)  # until both have subscribed
        finally:
            for listener in listeners:
                listener.stop()
            redis.close()


def test_without_a_broker_nothing_fails_and_the_listener_stops_at_once(tmp_path: Path) -> None:
    redis = redis_from_url(f"unix://{tmp_path / 'nobody.sock'}", retries=0)
    listener = WakeUpListener(redis, lambda: None)
    listener.start()
    wake_scheduler(redis)
    listener.stop()
    assert not listener.is_running
