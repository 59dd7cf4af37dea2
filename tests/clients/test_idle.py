"""TORIL WAIT IDLE beside real workers: RQ and Celery."""

import os
import uuid

import pytest
import redis
import rq
from support import URL, working

NAME = os.environ["RQ_NAME"] = f"rq-{uuid.uuid4()}"
os.environ["CELERY_NAME"] = ""
import rq_functions as functions


def pairs(answer):
    """RESP2 has no maps."""
    return dict(zip(answer[::2], answer[1::2]))


@pytest.fixture
def client():
    with redis.Redis.from_url(URL) as client:
        try:
            client.execute_command("TORIL", "CLOCK")
        except redis.ResponseError:
            pytest.skip("this server has no TORIL")
        yield client


def idle(client, *words):
    answer = pairs(client.execute_command("TORIL", "WAIT", "IDLE", *words))
    queues = pairs(answer[b"queues"])
    return answer[b"idle"], {name: pairs(it) for name, it in queues.items()}, answer.get(b"why")


def test_rq_jobs_have_ended(client):
    queue = rq.Queue(NAME, connection=client)
    with working("-m", "rq.cli", "worker", "--quiet", "--url", URL, NAME):
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
