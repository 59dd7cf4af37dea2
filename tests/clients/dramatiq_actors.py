"""dramatiq's side of test_dramatiq.py: the broker and its actors, which the test and its workers
import.

DRAMATIQ_NAME is what the names of all its keys begin with. Each request to the broker looks for
messages of workers that have not been heard of for DRAMATIQ_HEARTBEAT_MS.
"""

import os
import time

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.rate_limits import ConcurrentRateLimiter
from dramatiq.rate_limits.backends import RedisBackend as Limits
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from support import PATIENCE_S, URL

NAME = os.environ["DRAMATIQ_NAME"]

broker = RedisBroker(
    url=URL,
    namespace=NAME,
    maintenance_chance=1_000_000,
    heartbeat_timeout=int(os.environ.get("DRAMATIQ_HEARTBEAT_MS", "60000")),
)
broker.add_middleware(Results(backend=RedisBackend(url=URL, namespace=f"{NAME}-results")))
dramatiq.set_broker(broker)

alone = ConcurrentRateLimiter(Limits(url=URL), f"{NAME}-alone", limit=1)


def note(text):
    """What an actor did, in order, where the test can read it."""
    with redis.Redis.from_url(URL) as client:
        return client.rpush(f"{NAME}-notes", text)


@dramatiq.actor(store_results=True)
def add(x, y):
    return x + y


@dramatiq.actor
def write_down(text):
    note(text)


@dramatiq.actor(store_results=True, min_backoff=100, max_backoff=400)
def shaky():
    attempts = note(time.time())
    if attempts < 3:
        raise ValueError(f"attempt {attempts} broke")
    return "at last"


@dramatiq.actor(max_retries=1, min_backoff=10, max_backoff=20)
def fail():
    raise ValueError("as asked")


@dramatiq.actor(store_results=True)
def work_alone():
    """Answers whether nobody else did. Waits for somebody else to be refused."""
    with alone.acquire(raise_on_failure=False) as acquired:
        with redis.Redis.from_url(URL) as client:
            if acquired:
                client.blpop(f"{NAME}-refused", PATIENCE_S)
            else:
                client.rpush(f"{NAME}-refused", "refused")
        return acquired


@dramatiq.actor
def survive():
    """Never ends where it runs first."""
    if note("run") == 1:
        time.sleep(60)
