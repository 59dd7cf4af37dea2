"""upstash-ratelimit: its scripts begin with a shebang of Upstash's own."""

import asyncio
import time
import uuid

import pytest
from upstash_ratelimit import FixedWindow, Ratelimit, SlidingWindow, TokenBucket
from upstash_ratelimit.asyncio import Ratelimit as AsyncRatelimit
from upstash_redis import Redis
from upstash_redis.asyncio import Redis as AsyncRedis

# Windows begin at multiples of their length since 1970: no boundary of this one is near.
DAYS = 10_000

ALGORITHMS = [
    FixedWindow(max_requests=3, window=DAYS, unit="d"),
    SlidingWindow(max_requests=3, window=DAYS, unit="d"),
    TokenBucket(max_tokens=3, refill_rate=1, interval=DAYS, unit="d"),
]
by_algorithm = pytest.mark.parametrize("limiter", ALGORITHMS, ids=lambda it: type(it).__name__)


@pytest.fixture
def client():
    with Redis.from_env() as client:
        yield client


@pytest.fixture
def prefix():
    return f"ratelimit-{uuid.uuid4()}"


@by_algorithm
def test_three_may_pass(client, prefix, limiter):
    ratelimit = Ratelimit(redis=client, limiter=limiter, prefix=prefix)
    answers = [ratelimit.limit("ada") for _ in range(3)]
    assert [(it.allowed, it.remaining) for it in answers] == [(True, 2), (True, 1), (True, 0)]
    assert client.script_flush() is True
    refused = ratelimit.limit("ada")
    assert (refused.allowed, refused.remaining, refused.limit) == (False, 0, 3)
    assert refused.reset > time.time()
    assert ratelimit.limit("bob").allowed


@by_algorithm
def test_what_is_left(client, prefix, limiter):
    ratelimit = Ratelimit(redis=client, limiter=limiter, prefix=prefix)
    ratelimit.limit("ada")
    assert ratelimit.get_remaining("ada") == 2
    assert ratelimit.limit("ada", rate=2).remaining == 0
    assert ratelimit.get_remaining("ada") == 0
    assert ratelimit.get_reset("ada") > time.time()


def test_waits_until_the_window_has_passed(client, prefix):
    for limiter in [
        FixedWindow(max_requests=1, window=100, unit="ms"),
        SlidingWindow(max_requests=1, window=100, unit="ms"),
        TokenBucket(max_tokens=1, refill_rate=1, interval=100, unit="ms"),
    ]:
        ratelimit = Ratelimit(redis=client, limiter=limiter, prefix=f"{prefix}-{id(limiter)}")
        for _ in range(3):
            assert ratelimit.block_until_ready("ada", timeout=10).allowed


@by_algorithm
def test_many_at_once(prefix, limiter):
    async def work():
        async with AsyncRedis.from_env() as client:
            ratelimit = AsyncRatelimit(redis=client, limiter=limiter, prefix=prefix)
            answers = await asyncio.gather(*(ratelimit.limit("ada") for _ in range(40)))
            assert sum(it.allowed for it in answers) == 3

    asyncio.run(work())
