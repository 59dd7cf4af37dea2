"""TORIL CLOCK and EXPECT beside real workers of arq, which follow through the clock file."""

import asyncio
import contextlib
import time

from arq import create_pool
from arq.connections import RedisSettings
from clock.lab import DAY_S, DAYS, SOON_S, WHILE_S, check_across_the_jump, check_delayed, client
from clock.lab import jump, minutes_since, preload, seconds_until, server, worker
from support import until


def enqueue(server, *arguments, **options):
    async def run():
        pool = await create_pool(RedisSettings.from_dsn(server.url))
        await pool.enqueue_job(*arguments, **options)
        await pool.aclose()

    asyncio.run(run())


@contextlib.contextmanager
def arq_worker(server, client, settings="Worker"):
    """arq gives up a job by a timer, after five minutes, which must not be those of the clock."""
    program = ["-m", "arq", f"clock.arq_worker.{settings}"]
    with worker(server, *program, TORIL_CLOCK_TIMERS="none"):
        until(lambda: client.exists("arq:queue:health-check"))
        yield


def test_a_delayed_job(server, client):
    with arq_worker(server, client):
        enqueue(server, "note", _defer_by=DAY_S)
        check_delayed(server, client, time.time())
        assert client.exists("arq:queue:health-check")


def test_a_worker_that_is_started_later(server, client):
    enqueue(server, "note", _defer_by=DAY_S)
    start = time.time()
    jump(server, DAY_S + 1)
    with arq_worker(server, client):
        assert seconds_until(client, 1) < SOON_S
        assert minutes_since(client, start) == [24 * 60]


def test_a_job_that_is_active_across_the_jump(server, client):
    with arq_worker(server, client), arq_worker(server, client):
        enqueue(server, "hold")
        check_across_the_jump(server, client, lambda: client.zcard("arq:queue") == 0)


def test_what_has_become_of_jobs_is_known(server, client):
    enqueue(server, "note", _defer_by=DAY_S)
    server.expect("arq:queue", state="delayed", name="note")
    with arq_worker(server, client):
        enqueue(server, "note")
        server.expect("arq:queue", state="completed", name="note")
        enqueue(server, "broken")
        server.expect("arq:queue", state="failed", name="broken")
        counts = server.idle("arq:queue", allow_failed=True)["queues"]["arq:queue"]
        assert (counts["completed"], counts["failed"], counts["delayed"]) == (1, 1, 1)


def test_step_by_step_retries(server, client):
    with arq_worker(server, client):
        enqueue(server, "shaky")
        start = time.time()
        server.clock.advance("1d")
        assert minutes_since(client, start) == [0, 60, 180, 420]


def test_a_pattern_of_cron(server, client):
    """A worker tells nobody when it is due next, so that each day is a jump of its own."""
    with arq_worker(server, client, "CronWorker"):
        for days in range(1, 1 + DAYS):
            jump(server, DAY_S)
            assert seconds_until(client, days) < SOON_S
        time.sleep(WHILE_S)
        assert client.llen("ran") == DAYS
