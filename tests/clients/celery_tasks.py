"""Celery's side of test_celery.py: the application, which the test and its workers import.

CELERY_NAME is what the names of all its keys and channels begin with, CELERY_VISIBILITY_S the time
after which a worker takes what another has not acknowledged.
"""

import os
import time

import celery
import redis
from support import URL

NAME = os.environ["CELERY_NAME"]

app = celery.Celery("celery_tasks", broker=URL, backend=URL)
app.conf.update(
    broker_transport_options={
        "global_keyprefix": NAME,
        "visibility_timeout": int(os.environ.get("CELERY_VISIBILITY_S", "3600")),
        "queue_order_strategy": "priority",
        "polling_interval": 0.1,
    },
    result_backend_transport_options={"global_keyprefix": NAME},
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    task_store_errors_even_if_ignored=True,
)


def note(text):
    """What a task did, in order, where the test can read it."""
    with redis.Redis.from_url(URL) as client:
        client.rpush(f"{NAME}:notes", text)


@app.task
def add(x, y):
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def fail():
    raise ValueError("as asked")


@app.task(bind=True, max_retries=2)
def shaky(self):
    note(time.time())
    if self.request.retries < 2:
        raise self.retry(countdown=0.2)
    return "at last"


@app.task
def write_down(text):
    note(text)


@app.task(bind=True)
def survive(self):
    """Never ends where it runs first."""
    runs_again = self.request.delivery_info["redelivered"]
    note("again" if runs_again else "first")
    if not runs_again:
        time.sleep(60)
    return "survived"
