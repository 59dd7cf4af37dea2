"""What the page shows of queues whose libraries are not BullMQ, with real workers of each.

The server is this suite's own, so each test may expect to find its queues alone.
"""

import contextlib
import datetime
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

import celery
import celery.contrib.testing.worker
import dramatiq
import pytest
import rq
from dramatiq.brokers.redis import RedisBroker

sys.path.append(str(pathlib.Path(__file__).parent.parent))
from support import HOST, PATIENCE_S, PORT, until

import redis

PAGE = os.environ["UPSTASH_REDIS_REST_URL"]
TOKEN = os.environ["UPSTASH_REDIS_REST_TOKEN"]


def view(path):
    request = urllib.request.Request(
        f"{PAGE}/_toril/view/{path}",
        headers={"Authorization": f"Bearer {TOKEN}", "Accept": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return json.load(answer)


def queue_of(library):
    """The id of the only queue of a library."""
    found = lambda: [it for it in view("overview")["queues"] if it["kind"].startswith(library)]
    [queue] = until(found)
    return queue["id"]


def state(queue, name):
    return view(f"queue/{queue}/{urllib.parse.quote(name)}")


def counts(queue):
    told = view(f"queue/{queue}")["counts"]
    return {name: count for name, count in told.items() if count}


@contextlib.contextmanager
def database(number):
    """Empty before and afterwards."""
    with redis.Redis(HOST, PORT, db=number, decode_responses=True) as client:
        client.flushdb()
        yield f"redis://{HOST}:{PORT}/{number}"
        client.flushdb()


def test_dramatiq():
    with database(1) as url:
        broker = RedisBroker(url=url)
        dramatiq.set_broker(broker)
        goes_on = threading.Event()

        @dramatiq.actor(broker=broker)
        def hold(text):
            goes_on.wait(PATIENCE_S)

        @dramatiq.actor(broker=broker, max_retries=1, min_backoff=10, max_backoff=20)
        def fail():
            raise ValueError("as asked")

        first = hold.send("<img onerror>")
        second = fail.send()
        later = hold.send_with_options(args=["later"], delay=60_000)
        queue = queue_of("dramatiq")
        assert counts(queue) == {"waiting": 2, "delayed": 1}
        shown = state(queue, "waiting")["jobs"]
        # The next comes first.
        assert [(it["id"], it["name"]) for it in shown] == [
            (first.message_id, "hold"),
            (second.message_id, "fail"),
        ]
        assert json.loads(shown[0]["data"]) == {"args": ["<img onerror>"], "kwargs": {}}
        [delayed] = state(queue, "delayed")["jobs"]
        assert delayed["id"] == later.message_id
        assert abs(delayed["due"] / 1000 - time.time() - 60) < 5

        worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=100)
        worker.start()
        try:
            until(lambda: counts(queue) == {"taken": 2, "delayed": 1})
            goes_on.set()
            until(lambda: counts(queue) == {"dead": 1, "delayed": 1})
        finally:
            goes_on.set()
            worker.stop()
        [dead] = state(queue, "dead")["jobs"]
        assert (dead["id"], dead["error"]) == (second.message_id, "ValueError: as asked")
        job = view(f"job/{queue}/{dead['id']}")
        assert job["state"] == "dead"


def test_celery():
    with database(2) as url:
        app = celery.Celery(broker=url, backend=url, set_as_current=False)
        app.conf.update(worker_hijack_root_logger=False, task_acks_late=True)
        goes_on = threading.Event()

        @app.task(name="hold")
        def hold(text):
            goes_on.wait(PATIENCE_S)

        results = [hold.delay(text) for text in ["first", "<img onerror>"]]
        later = hold.apply_async(["later"], countdown=60)
        queue = queue_of("Celery")
        assert counts(queue) == {"waiting": 3}
        shown = state(queue, "waiting")["jobs"]
        assert [it["id"] for it in shown] == [results[0].id, results[1].id, later.id]
        assert {it["name"] for it in shown} == {"hold"}
        assert json.loads(shown[1]["data"]) == {"args": ["<img onerror>"], "kwargs": {}}
        assert view(f"job/{queue}/{later.id}")["state"] == "waiting"

        worker = celery.contrib.testing.worker.start_worker(
            app, pool="threads", concurrency=1, perform_ping_check=False, loglevel="CRITICAL"
        )
        with worker:
            until(lambda: counts(queue) == {"reserved": 2, "scheduled": 1})
            [scheduled] = state(queue, "scheduled")["jobs"]
            assert scheduled["id"] == later.id
            assert abs(scheduled["due"] / 1000 - time.time() - 60) < 5
            assert view(f"job/{queue}/{results[0].id}")["state"] == "reserved"
            goes_on.set()
            until(lambda: counts(queue) == {"scheduled": 1})


def test_rq():
    with database(3) as url, redis.Redis.from_url(url) as client:
        queue = rq.Queue("default", connection=client)
        jobs = [queue.enqueue("operator.truediv", 1, by) for by in [1, 0]]
        later = queue.enqueue_in(datetime.timedelta(seconds=60), "operator.add", 1, 1)
        shown = queue_of("RQ")
        assert counts(shown) == {"queued": 2, "scheduled": 1}
        # The next comes first.
        assert [it["id"] for it in state(shown, "queued")["jobs"]] == [job.id for job in jobs]
        [scheduled] = state(shown, "scheduled")["jobs"]
        assert scheduled["id"] == later.id
        rq.SimpleWorker([queue], connection=client).work(burst=True, logging_level="CRITICAL")
        assert counts(shown) == {"finished": 1, "failed": 1, "scheduled": 1}
        [failed] = state(shown, "failed")["jobs"]
        assert failed["id"] == jobs[1].id
        assert "ZeroDivisionError: division by zero" in failed["error"]


@pytest.mark.skipif(not shutil.which("sidekiq-ruby"), reason="sidekiq-ruby is not there")
def test_sidekiq():
    folder = pathlib.Path(__file__).parent.parent
    notes = "sidekiq-notes"
    environment = {**os.environ, "SIDEKIQ_NOTES": notes}

    def ask(*expressions):
        console = ["sidekiq-ruby", str(folder / "sidekiq-console.rb")]
        answer = subprocess.run(
            console, input="\n".join(expressions), env=environment, text=True, capture_output=True
        )
        assert answer.returncode == 0, answer.stderr
        return [json.loads(line) for line in answer.stdout.splitlines()]

    with database(9) as url, redis.Redis.from_url(url) as client:
        jobs = ["Hopeless.perform_async", "Survive.perform_async", "WriteDown.perform_async('<b>')"]
        jobs.append("WriteDown.perform_in(60, 'later')")
        ids = ask(*jobs)
        queue = queue_of("Sidekiq")
        assert counts(queue) == {"enqueued": 3, "scheduled": 1}
        shown = state(queue, "enqueued")["jobs"]
        assert [(it["id"], it["name"]) for it in shown] == list(
            zip(ids, ["Hopeless", "Survive", "WriteDown"])
        )
        assert json.loads(shown[2]["data"]) == ["<b>"]
        [scheduled] = state(queue, "scheduled")["jobs"]
        assert scheduled["id"] == ids[3]
        assert abs(scheduled["due"] / 1000 - time.time() - 60) < 20

        options = ["--concurrency", "1", "--timeout", "1", "--queue", "default"]
        command = ["sidekiq-ruby", "-S", "sidekiq", "--require", folder / "sidekiq-jobs.rb"]
        worker = subprocess.Popen([*command, *options], env=environment)
        try:
            until(lambda: client.llen(notes) == 1)
            # What it does at the moment the process says at its next sign of life, or has said.
            told = {name: count for name, count in counts(queue).items() if name != "busy"}
            assert told == {"enqueued": 1, "scheduled": 1, "dead": 1}
            [dead] = state(queue, "dead")["jobs"]
            assert (dead["id"], dead["error"]) == (ids[0], "ArgumentError: as asked")
            assert dead["attempts"] == 1
            until(lambda: counts(queue).get("busy") == 1)
            [busy] = state(queue, "busy")["jobs"]
            assert busy["id"] == ids[1]
            assert view(f"job/{queue}/{ids[1]}")["state"] == "busy"
        finally:
            worker.terminate()
            worker.wait(PATIENCE_S)
