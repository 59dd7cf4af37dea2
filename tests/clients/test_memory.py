"""Memory gets short while a task is at work, with kombu and Celery: what is done is acknowledged.

The server is this file's alone. Each test shortens its memory.
"""

import celery
import celery.contrib.testing.worker
import kombu
import pytest
import redis
from support import HOST, PATIENCE_S, PORT, name, until

URL = f"redis://{HOST}:{PORT}/0"


@pytest.fixture
def client():
    with redis.Redis(HOST, PORT, decode_responses=True) as client:
        client.config_set("maxmemory", 0)
        client.flushall()
        yield client
        client.config_set("maxmemory", 0)


def test_kombu_acknowledges_what_it_has_received(client, name):
    with kombu.Connection(URL) as connection:
        queue = connection.SimpleQueue(name)
        for body in ["first", "second"]:
            queue.put(body)
        first = queue.get(timeout=PATIENCE_S)
        second = queue.get(timeout=PATIENCE_S)
        assert client.hlen("unacked") == client.zcard("unacked_index") == 2

        client.config_set("maxmemory", 1)
        first.ack()
        assert client.hlen("unacked") == client.zcard("unacked_index") == 1
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            queue.put("third")

        client.config_set("maxmemory", 0)
        second.reject(requeue=True)
        assert queue.get(timeout=PATIENCE_S).payload == "second"
        queue.close()


def test_celery_acknowledges_what_it_has_done(client, name):
    app = celery.Celery(broker=URL, set_as_current=False)
    app.conf.update(
        task_default_queue=name,
        task_acks_late=True,
        task_ignore_result=True,
        worker_hijack_root_logger=False,
    )
    done = []

    @app.task(name="shorten")
    def shorten():
        client.config_set("maxmemory", 1)
        done.append("shorten")

    @app.task(name="work")
    def work():
        done.append("work")

    worker = celery.contrib.testing.worker.start_worker(
        app, pool="solo", perform_ping_check=False, loglevel="CRITICAL"
    )
    with worker:
        shorten.delay()
        until(lambda: done == ["shorten"])
        until(lambda: client.hlen("unacked") == 0)
        with pytest.raises(kombu.exceptions.OperationalError):
            work.apply_async(retry=False)

        client.config_set("maxmemory", 0)
        work.delay()
        until(lambda: done == ["shorten", "work"])
        until(lambda: client.hlen("unacked") == 0)
    assert client.llen(name) == 0
