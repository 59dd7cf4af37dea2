"""The actions of the page on queues of arq, beside the library's own where it has some: on twin
queues the library does one and toril's script the other, and then the keys of both are compared.
Then workers must see them.
"""

import asyncio
import os
import pathlib
import sys
import uuid

import pytest
import redis
from arq import create_pool
from arq.jobs import JobStatus

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from actions_support import ask, job_of, keys_of, refusal, refuse_odd
from support import PATIENCE_S, URL, until, working

NAME = os.environ["ARQ_NAME"] = f"arq-{uuid.uuid4()}"
import arq_worker

HOUR_S = 3_600
WORKER = ["-m", "arq", "arq_worker.Worker"]


@pytest.fixture
def client():
    with redis.Redis.from_url(URL) as client:
        yield client
        client.delete(f"{NAME}-notes", NAME)


def notes(client):
    return [note.decode() for note in client.lrange(f"{NAME}-notes", 0, -1)]


def with_pool(test):
    """Runs what is a coroutine, with a pool of connections."""

    async def run(client):
        pool = await create_pool(arq_worker.SETTINGS, default_queue_name=NAME)
        await test(client, pool)
        await pool.aclose()

    def started(client):
        asyncio.run(run(client))

    started.__name__ = test.__name__
    return started


async def enqueue(pool, queue, text, **options):
    name = f"{queue}-{text}"
    job = await pool.enqueue_job("write_down", text, _job_id=name, _queue_name=queue, **options)
    assert job is not None
    return job


def plain(client, queue):
    """The keys of a queue, without what differs between twins: its name, pickles, and moments."""

    def short(kept):
        if isinstance(kept, bytes):
            return "pickle"
        # Due at once, by now, later.
        times = [(it, int(score > 1) + int(score > client.time()[0] * 1000 + 999)) for it, score in kept]
        return [(it.replace(queue.encode(), b"twin"), when) for it, when in times]

    keys = keys_of(client, f"*{queue}*") | {
        b"abort": [(it, s) for it, s in client.zrange("arq:abort", 0, -1, withscores=True) if queue.encode() in it]
    }
    return {key.replace(queue.encode(), b"twin"): short(kept) for key, kept in keys.items()}


def twins():
    return [f"twin-{uuid.uuid4()}" for _ in range(2)]


@with_pool
async def test_a_job_is_aborted_as_by_the_library(client, pool):
    one, two = twins()
    theirs, ours = [await enqueue(pool, it, "later", _defer_by=HOUR_S) for it in (one, two)]
    assert plain(client, one) == plain(client, two)
    with pytest.raises(asyncio.TimeoutError):
        await theirs.abort(timeout=0)
    assert ask(two, "abort", ids=[ours.job_id])["told"] == f"Told workers to abort 1 job of {two}"
    assert plain(client, two) == plain(client, one)
    assert plain(client, two)[b"abort"] != []


@with_pool
async def test_a_job_is_promoted_and_removed_and_put_off(client, pool):
    one, two = twins()
    await enqueue(pool, one, "it")
    job = await enqueue(pool, two, "it", _defer_by=HOUR_S)
    assert plain(client, two) != plain(client, one)
    assert ask(two, "promote", ids=[job.job_id])["done"] == 1
    assert plain(client, two) == plain(client, one)
    # A week later than now, it must not be gone before.
    assert ask(two, "delay", ids=[job.job_id], delay="7d")["done"] == 1
    assert client.pttl(f"arq:job:{job.job_id}") >= client.zscore(two, job.job_id) - client.time()[0] * 1000
    assert await job.status() == JobStatus.deferred
    # What is pickled is read, and never run.
    assert "'f': 'write_down', 'a': ('it',), 'k': {}" in job_of(two, job.job_id)["data"]
    assert ask(two, "remove", ids=[job.job_id, "nobody"])["refused"] == ["Job nobody is not there any more"]
    assert plain(client, two) == {b"abort": []}
    assert await job.status() == JobStatus.not_found


@with_pool
async def test_a_whole_queue_is_promoted_piece_by_piece(client, pool):
    name = f"twin-{uuid.uuid4()}"
    for number in range(300):
        await enqueue(pool, name, str(number), _defer_by=HOUR_S + number)
    first = ask(name, "promote", state="queued", count=300)
    assert (first["done"], first["left"]) == (250, 50)
    second = ask(name, "promote", state="queued", count=50, before=250, skip=first["skip"])
    assert (second["told"], second["left"]) == (f"Let 300 jobs of {name} run now", 0)
    assert client.zcount(name, 0, client.time()[0] * 1000 + 999) == 300


@with_pool
async def test_keys_that_are_odd_are_named_and_nothing_is_changed(client, pool):
    name = f"odd-{uuid.uuid4()}"
    later = await enqueue(pool, name, "later", _defer_by=HOUR_S)
    orders = [(it, {"ids": [later.job_id]}) for it in ("abort", "promote", "remove")]
    orders += [("delay", {"ids": [later.job_id], "delay": "1h"}), ("clean", {"state": "queued", "count": 9})]
    refuse_odd(client, name, {"zset": ["arq:abort", name]}, orders)


@with_pool
async def test_workers_see_what_is_done(client, pool):
    later = [await enqueue(pool, NAME, it, _defer_by=HOUR_S) for it in ("promoted", "sooner", "removed", "aborted")]
    promoted, sooner, removed, aborted = [it.job_id for it in later]
    running = await pool.enqueue_job("survive")
    with working(*WORKER):
        until(lambda: notes(client) == ["try 1"])
        until(lambda: client.exists(f"arq:in-progress:{running.job_id}"))
        assert ask(NAME, "remove", ids=[running.job_id])["refused"] == [f"Job {running.job_id} is with a worker already"]
        assert "there is no action 'retry': abort" in refusal(NAME, "retry", ids=[promoted])
        assert ask(NAME, "promote", ids=[promoted])["done"] == 1
        until(lambda: "promoted" in notes(client))
        assert ask(NAME, "delay", ids=[sooner], delay="300ms")["done"] == 1
        until(lambda: "sooner" in notes(client))
        assert ask(NAME, "remove", ids=[removed])["done"] == 1
        assert ask(NAME, "abort", ids=[aborted, running.job_id])["done"] == 2
        for job in (later[3], running):
            with pytest.raises(asyncio.CancelledError):
                await job.result(timeout=PATIENCE_S, poll_delay=0.01)
        assert notes(client) == ["try 1", "promoted", "sooner"]
        assert client.zcard(NAME) == 0
