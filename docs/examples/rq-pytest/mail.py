"""What is tested: letters, which a worker of RQ sends."""

import os

from redis import Redis
from rq import Queue, Retry


def queue() -> Queue:
    return Queue("mail", connection=Redis.from_url(os.environ["REDIS_URL"]))


def welcome(to: str):
    return queue().enqueue(send, to, retry=Retry(max=2))


def send(to: str) -> str:
    if "@" not in to:
        raise ValueError(f"{to} is no address")
    return f"sent to {to}"
