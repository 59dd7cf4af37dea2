"""What is tested: orders, whose steps are tasks of Celery."""

import os

from celery import Celery, chain

app = Celery("shop", broker=os.environ.get("REDIS_URL"), backend=os.environ.get("REDIS_URL"))


@app.task
def reserve(item: str, count: int) -> dict:
    return {"item": item, "count": count}


@app.task(bind=True, max_retries=3, default_retry_delay=0.05)
def pay(self, order: dict) -> dict:
    if self.request.retries < 1:
        raise self.retry(exc=ConnectionError("the bank does not answer"))
    return order | {"paid": True}


def buy(item: str, count: int):
    return chain(reserve.s(item, count), pay.s()).apply_async()
