"""RQ's side of test_rq.py: what its workers call.

RQ_NAME is the name of the queue, and what the keys of the notes begin with.
"""

import os
import time

import redis
import rq
from support import URL

NAME = os.environ["RQ_NAME"]


def note(text):
    """What a function did, in order, where the test can read it."""
    with redis.Redis.from_url(URL) as client:
        return client.rpush(f"{NAME}-notes", text)


def add(x, y):
    return x + y


def fail():
    raise ValueError("as asked")


def shaky():
    if note(time.time()) < 2:
        raise ValueError("the first attempt broke")
    return "at last"


def survive():
    """Never ends where it runs first."""
    if note(os.getpid()) == 1:
        time.sleep(60)
    return "survived"


def report(job, connection, result):
    note(f"{job.origin} has {result}")


def hang():
    note("hangs")
    time.sleep(60)


def progress():
    rq.get_current_job().meta["done"] = "half"
    rq.get_current_job().save_meta()
