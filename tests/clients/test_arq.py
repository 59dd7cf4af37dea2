"""arq, which keeps its jobs in a sorted set, with workers as programs.

It wants a redis-py older than the other tests do: requirements-arq.txt.
"""

import asyncio
import contextlib
import os
import time
import uuid

import pytest
from arq import create_pool
from arq.jobs import JobStatus
from support import PATIENCE_S, notebook, until, working

NAME = os.environ["ARQ_NAME"] = f"arq-{uuid.uuid4()}"
import arq_worker

client, notes = notebook(f"{NAME}-notes")


@contextlib.asynccontextmanager
async def a_pool():
    pool = await create_pool(arq_worker.SETTINGS, default_queue_name=NAME)
    yield pool
    await pool.aclose()


def a_worker(settings="Worker"):
    return working("-m", "arq", f"arq_worker.{settings}")


async def result_of(job):
    return await job.result(timeout=PATIENCE_S, poll_delay=0.01)


def test_a_worker_does_what_people_ask_of_it(client):
    async def run():
        async with a_pool() as pool:
            first = await pool.enqueue_job("add", 1, 2, _job_id=f"{NAME}-once")
            assert await pool.enqueue_job("add", 1, 2, _job_id=f"{NAME}-once") is None
            assert await first.status() == JobStatus.queued
            [queued] = await pool.queued_jobs()
            assert (queued.function, queued.args) == ("add", (1, 2))
            with a_worker() as worker:
                assert await result_of(first) == 3
                assert await first.status() == JobStatus.complete
                assert await pool.enqueue_job("add", 1, 2, _job_id=first.job_id) is None
                assert 50 < client.ttl(f"arq:result:{first.job_id}") <= 60

                asked = time.time()
                later = await pool.enqueue_job("write_down", "later", _defer_by=0.5)
                never = await pool.enqueue_job("write_down", "never", _defer_by=3_600)
                assert await never.status() == JobStatus.deferred
                many = [await pool.enqueue_job("add", n, n) for n in range(20)]
                assert [await result_of(job) for job in many] == [2 * n for n in range(20)]
                assert await result_of(later) is None
                assert time.time() >= asked + 0.5 and notes(client) == ["later"]
                client.delete(f"{NAME}-notes")

                failed = await pool.enqueue_job("fail")
                with pytest.raises(ValueError, match="as asked"):
                    await result_of(failed)
                assert await result_of(await pool.enqueue_job("shaky")) == "at last"
                attempts = [float(note) for note in notes(client)]
                waits = [late - early for early, late in zip(attempts, attempts[1:])]
                assert len(waits) == 2 and min(waits) >= 0.2

                assert await never.abort(timeout=PATIENCE_S, poll_delay=0.01)
                until(lambda: client.exists(f"{NAME}:health-check"))
                assert worker.stop() == 0
            assert await pool.zcard(NAME) == 0

    asyncio.run(run())


def test_what_a_worker_leaves_when_it_stops_another_does(client):
    async def run():
        async with a_pool() as pool:
            job = await pool.enqueue_job("survive")
            with a_worker() as first:
                until(lambda: notes(client) == ["try 1"])
                assert await job.status() == JobStatus.in_progress
                first.stop()
            assert await job.status() == JobStatus.queued
            with a_worker():
                assert await result_of(job) == "survived"
            assert notes(client) == ["try 1", "try 2"]

    asyncio.run(run())


def test_what_a_killed_worker_held_is_nobodys_for_the_time_of_a_job(client):
    async def run():
        async with a_pool() as pool:
            job = await pool.enqueue_job("survive")
            with a_worker() as first:
                until(lambda: notes(client) == ["try 1"])
                first.kill()
            # arq gives a job 10 s more than its timeout.
            key = f"arq:in-progress:{job.job_id}"
            assert 30 < client.ttl(key) <= 300 + 10
            assert client.zscore(NAME, job.job_id) is not None
            client.pexpire(key, 10)
            with a_worker():
                assert await result_of(job) == "survived"

    asyncio.run(run())


def test_two_workers_run_a_cron_job_once(client):
    with a_worker("CronWorker"), a_worker("CronWorker"):
        until(lambda: len(notes(client)) >= 2)
    assert len(set(notes(client))) == len(notes(client))
