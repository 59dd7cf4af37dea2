"""huey's side of test_huey.py: the application, which the test and its consumers import.

HUEY_NAME is what its keys have in their names.
"""

import os
import time

import huey
import redis
from support import URL

NAME = os.environ["HUEY_NAME"]

app = huey.PriorityRedisExpireHuey(
    NAME, url=URL, expire_time=3_600, notify_result=True, clean_name=False
)


def note(text):
    """What a task did, in order, where the test can read it."""
    with redis.Redis.from_url(URL) as client:
        return client.rpush(f"{NAME}-notes", text)


@app.task()
def add(x, y):
    return x + y


@app.task()
def write_down(text):
    note(text)


@app.task(retries=2, retry_delay=1)
def shaky():
    attempts = note(time.time())
    if attempts < 2:
        raise ValueError(f"attempt {attempts} broke")
    return "at last"


@app.task()
def fail():
    raise ValueError("as asked")


@app.task()
@app.lock_task("alone")
def work_alone():
    return "alone"


@app.periodic_task(huey.crontab(minute="*"))
def every_minute():
    note("every minute")
