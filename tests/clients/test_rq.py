"""RQ: in the process of the test, and with workers as programs, which fork for each job."""

import datetime
import os
import signal
import time
import uuid

import pytest
import redis
import rq
import rq.command
import rq.exceptions
from rq.job import JobStatus
from support import PATIENCE_S, URL, until, working

NAME = os.environ["RQ_NAME"] = f"rq-{uuid.uuid4()}"
import rq_functions as functions

WORKER = ["-m", "rq.cli", "worker", "--with-scheduler", "--quiet", "--url", URL, NAME]
REPORT = rq.Callback(functions.report)


@pytest.fixture
def client():
    with redis.Redis.from_url(URL) as client:
        yield client
        client.delete(f"{NAME}-notes")


@pytest.fixture
def queue(client):
    return rq.Queue(NAME, connection=client)


def notes(client):
    return [note.decode() for note in client.lrange(f"{NAME}-notes", 0, -1)]


def result_of(job):
    """Waits for the entry in the stream of the job's results."""
    return job.latest_result(timeout=PATIENCE_S).return_value


def test_a_worker_in_this_process(client, queue):
    first = queue.enqueue(functions.add, 1, 2)
    dependent = queue.enqueue(functions.add, 3, 4, depends_on=first)
    failed = queue.enqueue(functions.fail, retry=rq.Retry(max=1))
    assert len(queue) == 2

    rq.SimpleWorker([queue], connection=client).work(burst=True, logging_level="CRITICAL")

    assert first.return_value() == 3
    assert dependent.return_value() == 7
    assert failed.get_status() == JobStatus.FAILED
    assert "ValueError: as asked" in failed.latest_result().exc_string
    assert failed.id in queue.failed_job_registry
    assert len(queue) == 0
    queue.failed_job_registry.remove(failed, delete_job=True)


def test_a_worker_does_what_people_ask_of_it(client, queue):
    asked = time.time()
    with pytest.raises(rq.exceptions.DuplicateJobError):
        for _ in range(2):
            queue.enqueue(functions.note, "once", job_id=f"{NAME}-once", unique=True)
    last = queue.enqueue(functions.note, "last")
    queue.enqueue(functions.note, "first", at_front=True)
    limit = rq.RateLimit(f"{NAME}-alone", concurrency=1)
    alone = [queue.enqueue(functions.add, n, n, rate_limit=limit) for n in range(3)]
    assert [job.get_status() for job in alone[1:]] == [JobStatus.RATE_LIMITED] * 2
    later = queue.enqueue_in(datetime.timedelta(seconds=1), functions.add, 3, 4)
    with working(*WORKER) as worker:
        result_of(last)
        assert notes(client) == ["first", "once", "last"]
        client.delete(f"{NAME}-notes")
        assert [result_of(job) for job in alone] == [0, 2, 4]

        job = queue.enqueue(functions.add, 1, 2, on_success=REPORT, result_ttl=100)
        assert result_of(job) == 3
        until(lambda: notes(client) == [f"{NAME} has 3"])
        assert 0 < client.ttl(job.key) <= 100
        client.delete(f"{NAME}-notes")
        shaky = queue.enqueue(functions.shaky, retry=rq.Retry(max=2, interval=1))
        job = queue.enqueue(functions.progress)
        result_of(job)
        assert job.get_meta() == {"done": "half"}

        # A job is stopped by a message to the channel of its worker.
        endless = queue.enqueue(functions.hang)
        until(lambda: "hangs" in notes(client))
        rq.command.send_stop_job_command(client, endless.id)
        until(lambda: endless.get_status() == JobStatus.STOPPED)

        # RQ keeps moments in whole seconds.
        assert result_of(later) == 7
        assert time.time() >= int(asked + 1)
        until(lambda: shaky.return_value(refresh=True) == "at last")
        first, second = [float(note) for note in notes(client) if note != "hangs"]
        assert second >= int(first + 1)
        assert worker.stop() == 0


def test_what_a_killed_worker_held_another_does(client, queue):
    job = queue.enqueue(functions.survive, retry=rq.Retry(max=1))
    with working(*WORKER) as first:
        # The process of the job dies: its worker says so.
        until(lambda: len(notes(client)) == 1)
        os.kill(int(notes(client)[0]), signal.SIGKILL)
        assert result_of(job) == "survived"
        job.refresh()
        assert job.retries_left == 0 and len(notes(client)) == 2
        client.delete(f"{NAME}-notes")

        job = queue.enqueue(functions.survive, retry=rq.Retry(max=1))
        until(lambda: len(notes(client)) == 1)
        first.kill()
    # All of it dies: that is noticed when the job's time is over. This is that moment.
    registry = queue.started_job_registry
    assert job.id in registry.get_job_ids(cleanup=False)
    registry.cleanup(timestamp=time.time() + 3_600)
    with working(*WORKER):
        until(lambda: job.return_value(refresh=True) == "survived")
