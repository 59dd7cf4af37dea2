"""What workers do in test_clock.py: they note when, as they see it."""

import os
import time

import redis

URL = os.environ["REDIS_URL"]


def note():
    with redis.Redis.from_url(URL) as client:
        client.rpush("ran", time.time())


def fail():
    note()
    raise ValueError("as asked")


def hold():
    """Ends when the test says so."""
    note()
    with redis.Redis.from_url(URL) as client:
        client.blpop("gate", 60)
