"""TORIL WAIT IDLE beside real workers: RQ and Celery."""

import json
import os
import time
import uuid

import celery
import celery.contrib.testing.worker
import pytest
import redis
import rq
from support import URL, until, working

NAME = os.environ["RQ_NAME"] = f"rq-{uuid.uuid4()}"
import rq_functions as functions


@pytest.fixture
def client():
    with redis.Redis.from_url(URL, protocol=3) as client:
        try:
            client.execute_command("TORIL", "CLOCK")
        except redis.ResponseError:
            pytest.skip("this server has no TORIL")
        yield client


def idle(client, *words):
    answer = client.execute_command("TORIL", "WAIT", "IDLE", *words)
    return answer[b"idle"], answer[b"queues"], answer.get(b"why")


def test_rq_jobs_have_ended(client):
    queue = rq.Queue(NAME, connection=client)
    with working("-m", "rq.cli", "worker", "--quiet", "--url", URL, NAME):
        until(lambda: client.exists(f"rq:workers:{NAME}"))
        jobs = [queue.enqueue(functions.add, n, n) for n in range(3)]
        is_idle, queues, why = idle(client, NAME, "TIMEOUT", "20s")
        assert is_idle == 1, why
        assert [job.return_value() for job in jobs] == [0, 2, 4]
        assert queues[NAME.encode()][b"completed"] == 3
        failed = queue.enqueue(functions.fail)
        is_idle, queues, why = idle(client, f"rq:queue:{NAME}", "TIMEOUT", "20s")
        assert is_idle == 1, why
        assert queues[NAME.encode()][b"failed"] == 1
        assert failed.get_status() == rq.job.JobStatus.FAILED


def test_rq_jobs_without_a_worker(client):
    name = f"alone-{uuid.uuid4()}"
    rq.Queue(name, connection=client).enqueue(functions.add, 1, 1)
    is_idle, queues, why = idle(client, name)
    assert is_idle == 0
    assert b"1 waiting  no worker is connected" in why


def test_celery_tasks_have_ended(client):
    name = f"celery-{uuid.uuid4()}"
    app = celery.Celery(broker=URL, backend=URL, set_as_current=False)
    # Else a task is acknowledged when it begins, and nothing tells that it runs.
    app.conf.update(task_default_queue=name, task_acks_late=True, worker_hijack_root_logger=False)
    ended = []

    @app.task(name="nap")
    def nap(seconds):
        time.sleep(seconds)
        ended.append(seconds)

    worker = celery.contrib.testing.worker.start_worker(
        app, pool="threads", concurrency=2, perform_ping_check=False, loglevel="CRITICAL"
    )
    with worker:
        for count in range(1, 6):
            for _ in range(count):
                nap.delay(0.02)
            is_idle, queues, why = idle(client, name)
            assert is_idle == 1, why
        assert len(ended) == 15
        nap.apply_async((1,), countdown=3600)
        is_idle, queues, why = idle(client, name)
        assert is_idle == 1, why
        assert queues[name.encode()][b"delayed"] == 1
        assert queues[name.encode()][b"next"]
        app.control.purge()


def test_celery_tasks_without_a_worker(client):
    name = f"alone-{uuid.uuid4()}"
    app = celery.Celery(broker=URL, set_as_current=False)
    app.conf.update(task_default_queue=name)
    app.send_task("nobody", (1,))
    is_idle, queues, why = idle(client, name)
    assert is_idle == 0
    assert b"1 waiting  no worker is connected" in why


def expect(client, queue, **what):
    told = {"queue": queue, "within": 5_000, **what}
    answer = json.loads(client.execute_command("TORIL", "EXPECT", json.dumps(told)))
    assert answer["met"] is True, answer["why"]


def test_what_has_become_of_celery_tasks_is_known(client):
    name = f"celery-{uuid.uuid4()}"
    app = celery.Celery(broker=URL, backend=URL, set_as_current=False)
    app.conf.update(task_default_queue=name, task_acks_late=True, worker_hijack_root_logger=False)

    @app.task(name="greet")
    def greet(to):
        if to == "bob":
            raise ValueError("no address")

    greet.delay(to="ada")
    expect(client, name, name="greet", state="added", data={"kwargs": {"to": "ada"}})
    worker = celery.contrib.testing.worker.start_worker(
        app, pool="threads", concurrency=2, perform_ping_check=False, loglevel="CRITICAL"
    )
    with worker:
        expect(client, name, state="completed", data={"kwargs": {"to": "ada"}})
        greet.delay(to="bob")
        expect(client, name, state="failed", data={"kwargs": {"to": "bob"}})
        greet.apply_async(kwargs={"to": "later"}, countdown=3600)
        expect(client, name, state="delayed", data={"kwargs": {"to": "later"}})
        app.control.purge()
