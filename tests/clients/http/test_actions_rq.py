"""The actions of the page on queues of RQ, beside RQ's own: on twin queues the library does one and
toril's script the other, and then the keys of both are compared. Then a worker must see them.
"""

import datetime
import os
import pathlib
import sys
import uuid

import pytest
import redis
import rq

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from actions_support import ask, job_of, odd, refusal, refuse_odd
from support import URL, until, working

NAME = os.environ["RQ_NAME"] = f"rq-{uuid.uuid4()}"
import rq_functions as functions

WORKER = ["-m", "rq.cli", "worker", "--quiet", "--url", URL, NAME]
# RQ's program ends at once where workers are suspended; a worker that a program of one's own starts waits.
OWN_WORKER = f"import redis, rq; rq.Worker({[NAME]}, connection=redis.Redis.from_url({URL!r})).work()"


@pytest.fixture
def client():
    with redis.Redis.from_url(URL) as client:
        yield client
        client.delete("rq:suspended", f"{NAME}-notes")


def keys_of(client, name, ids):
    """All keys of a queue and its jobs, without what differs between twins and moments."""

    def plain(field, value):
        is_moment = field.endswith(b"_at") and value or field in (b"data", b"worker_name", b"last_heartbeat")
        return b"MOMENT" if is_moment else value.replace(name.encode(), b"twin")

    told = {}
    for key in client.scan_iter("rq:*"):
        is_of_queue = name.encode() in key or any(job.encode() in key for job in ids)
        kind = client.type(key)
        if not is_of_queue or kind == b"stream":
            continue
        short = key.replace(name.encode(), b"twin")
        if kind == b"hash":
            # RQ leaves an empty text in zlib behind, of which it says itself that it should go.
            fields = {f: v for f, v in client.hgetall(key).items() if f != b"exc_info"}
            told[short] = {f: plain(f, v) for f, v in fields.items()}
            told[short]["expires"] = client.ttl(key) > 0
        elif kind in (b"zset", b"list"):
            read = client.zrange if kind == b"zset" else client.lrange
            told[short] = [item.replace(name.encode(), b"twin") for item in read(key, 0, -1)]
    return told


def fill(client, name):
    """A queue with a job that has failed, one that is finished, one that waits and one for later."""
    queue = rq.Queue(name, connection=client)
    ids = [f"{name}-{what}" for what in ("failed", "finished", "waiting", "later")]
    queue.enqueue(functions.fail, job_id=ids[0])
    queue.enqueue(functions.add, 1, 2, job_id=ids[1])
    rq.SimpleWorker([queue], connection=client).work(burst=True, logging_level="ERROR")
    queue.enqueue(functions.add, 1, 2, job_id=ids[2])
    queue.enqueue_in(datetime.timedelta(hours=1), functions.add, 1, 2, job_id=ids[3])
    return ids


def job(client, job_id):
    return rq.job.Job.fetch(job_id, connection=client)


CASES = [
    ("retry", 0, lambda it: it.requeue()),
    ("remove", 0, lambda it: it.delete()),
    ("remove", 1, lambda it: it.delete()),
    ("remove", 2, lambda it: it.delete()),
    ("remove", 3, lambda it: it.delete()),
    ("cancel", 2, lambda it: it.cancel()),
    ("cancel", 3, lambda it: it.cancel()),
]


@pytest.mark.parametrize(("action", "at", "theirs"), CASES)
def test_on_twins(client, action, at, theirs):
    one, two = (f"twin-{uuid.uuid4()}" for _ in range(2))
    first, second = fill(client, one), fill(client, two)
    assert keys_of(client, two, second) == keys_of(client, one, first), "they were twins before"
    theirs(job(client, first[at]))
    assert ask(two, action, ids=[second[at]])["done"] == 1
    assert keys_of(client, two, second) == keys_of(client, one, first)


def test_a_queue_is_emptied_and_what_makes_no_sense_is_refused(client):
    name = f"twin-{uuid.uuid4()}"
    ids = fill(client, name)
    told = ask(name, "clean", state="queued", count=1)
    assert told["told"] == f"Removed 1 job of {name}"
    assert rq.Queue(name, connection=client).count == 0
    assert not client.exists(f"rq:job:{ids[2]}")
    assert ask(name, "remove", ids=["nobody"])["refused"] == ["Job nobody is not there any more"]
    assert "there is no retry of what is scheduled" in refusal(name, "retry", ids=[ids[3]])


def test_keys_that_are_odd_are_named_and_nothing_is_changed(client):
    name = f"twin-{uuid.uuid4()}"
    failed, finished, waiting, later = fill(client, name)
    orders = [("retry", {"ids": [it]}) for it in (failed, finished)]
    orders += [("cancel", {"ids": [it]}) for it in (waiting, later)]
    orders += [("promote", {"ids": [later]}), ("remove", {"ids": [failed]}), ("clean", {"state": "queued", "count": 9})]
    registries = [f"rq:{it}:{name}" for it in ("finished", "failed", "scheduled", "deferred", "canceled")]
    refuse_odd(client, name, {"list": [f"rq:queue:{name}"], "set": ["rq:queues"], "zset": registries}, orders)
    for action, job_id in (("retry", failed), ("cancel", waiting), ("promote", later)):
        with odd(client, f"rq:job:{job_id}", "hash"):
            [told] = ask(name, action, ids=[job_id])["refused"]
            assert f"is left as it is: the key rq:job:{job_id} is of type set" in told


def test_what_is_pickled_is_read_and_never_run(client):
    name = f"twin-{uuid.uuid4()}"
    told = job_of(name, fill(client, name)[1])
    assert (told["data"], told["result"]) == ("('rq_functions.add', None, (1, 2), {})", "3")


def test_a_worker_sees_what_is_done(client):
    queue = rq.Queue(NAME, connection=client)
    with working(*WORKER):
        done = queue.enqueue(functions.add, 1, 2)
        until(lambda: job(client, done.id).is_finished)
        assert ask(NAME, "retry", ids=[done.id])["done"] == 1
        until(lambda: len(job(client, done.id).results()) == 2)
        later = queue.enqueue_in(datetime.timedelta(hours=1), functions.add, 3, 4)
        assert ask(NAME, "promote", ids=[later.id])["done"] == 1
        until(lambda: job(client, later.id).is_finished)
    assert ask(NAME, "pause")["told"] == "Suspended the workers of all queues"
    held = queue.enqueue(functions.add, 5, 6)
    # A worker that waits already takes one more job before it looks whether it may: a new one looks.
    with working("-c", OWN_WORKER):
        until(lambda: b"suspended" in (client.hget(it, "state") for it in client.smembers("rq:workers")))
        assert job(client, held.id).is_queued
        ask(NAME, "resume")
        until(lambda: job(client, held.id).is_finished)
