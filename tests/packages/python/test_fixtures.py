"""The fixtures of the plugin, in a run of pytest that knows nothing but the installed package."""

import pytest
from redis import Redis
from rq import Queue, SimpleWorker
from rq.timeouts import TimerDeathPenalty

from jobs import double


@pytest.mark.parametrize("number", range(10))
def test_each_test_has_an_empty_server(toril, number):
    assert toril.command("DBSIZE") == 0
    assert toril.command("INCR", "number") == 1


@pytest.mark.parametrize("number", range(10))
def test_the_shared_server_is_emptied(toril_session, number):
    assert toril_session.command("DBSIZE") == 0
    assert toril_session.command("INCR", "number") == 1


def test_the_url_is_that_of_the_server(toril, toril_url):
    assert toril_url == toril.url
    assert Redis.from_url(toril_url).ping()


class Worker(SimpleWorker):
    death_penalty_class = TimerDeathPenalty


def test_a_job_of_rq_runs(toril_url):
    redis = Redis.from_url(toril_url)
    queue = Queue(connection=redis)
    job = queue.enqueue(double, 21)
    Worker([queue], connection=redis).work(burst=True)
    assert job.return_value(refresh=True) == 42


@pytest.mark.toril("--maxmemory", "50mb", http=True)
def test_a_marker_tells_how_it_is_started(toril):
    assert toril.command("CONFIG", "GET", "maxmemory") == {"maxmemory": "52428800"}
    assert toril.env["UPSTASH_REDIS_REST_URL"] == toril.http["url"]


def test_arguments_come_from_the_command_line(toril):
    assert toril.command("CONFIG", "GET", "databases") == {"databases": "3"}


@pytest.mark.asyncio
async def test_what_waits_leaves_the_loop_free(toril_aio):
    import asyncio

    waiting = asyncio.create_task(toril_aio.command("BLPOP", "list", 5))
    await asyncio.sleep(0.05)
    assert await toril_aio.command("RPUSH", "list", "element") == 1
    assert await waiting == ["list", "element"]
