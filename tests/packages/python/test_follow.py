"""`clock.follow()`: the process of the test itself under the server's clock."""

import asyncio
import threading
import time
from datetime import date, datetime, timedelta, timezone

import pytest
from jobs import double
from redis import Redis
from rq import Queue, SimpleWorker, Worker
from toril import Server, TorilError

DAY_S = 86_400

#: How far two looks at one clock may be apart on a busy machine.
NEAR_S = 5


def near(span_s):
    return pytest.approx(span_s, abs=NEAR_S)


@pytest.fixture
def server():
    with Server(clock=True) as server:
        yield server


def test_whoever_asks_for_the_time_gets_the_servers(server):
    bound, before = time.time, time.time()
    with server.clock.follow():
        assert bound() - before == near(0)
        server.clock.advance("3d", jump=True)
        now = time.time()
        assert now - before == near(3 * DAY_S)
        assert bound() == near(now)
        assert time.time_ns() / 1e9 == near(now)
        assert time.clock_gettime(time.CLOCK_REALTIME) == near(now)
        assert datetime.now().timestamp() == near(now)
        assert datetime.now(timezone.utc).timestamp() == near(now)
        assert time.mktime(time.localtime()) == near(now)
        assert date.today() in {date.fromtimestamp(now), date.fromtimestamp(time.time())}
        server.clock.freeze()
        frozen = time.time()
        time.sleep(0.01)
        assert time.time() == frozen
    assert bound() - before == near(0)


def test_sleeps_and_timers_are_real_unless_they_are_to_follow(server):
    with server.clock.follow():
        began, shown = time.monotonic(), time.time()
        server.clock.advance("3d", jump=True)
        assert time.monotonic() - began == near(0)
        assert not threading.Event().wait(0.05)
        time.sleep(0.05)
        assert time.monotonic() - began == near(0)
        assert time.time() - shown == near(3 * DAY_S)


def test_timers_follow_and_never_go_back(server):
    async def sleeps():
        sleeper = asyncio.create_task(asyncio.sleep(2 * 3600, "slept"))
        await asyncio.sleep(0.01)
        await server.aio.clock.advance("3h", jump=True)
        return await asyncio.wait_for(sleeper, 60)

    began = time.monotonic()
    with server.clock.follow(timers=True):
        assert asyncio.run(sleeps()) == "slept"
        assert not threading.Event().wait(0.05)
        assert time.monotonic() - began == near(3 * 3600)
    assert time.monotonic() - began == near(3 * 3600)


@pytest.mark.parametrize("worker", [SimpleWorker, Worker])
def test_workers_of_the_test_follow_and_so_do_those_that_they_fork(server, worker):
    redis = Redis.from_url(server.url)
    queue = Queue("mail", connection=redis)
    with server.clock.follow():
        job = queue.enqueue_in(timedelta(days=1), double, 4)
        worker([queue], connection=redis).work(burst=True, with_scheduler=True)
        assert job.return_value(refresh=True) is None
        server.clock.advance("25h", jump=True)
        worker([queue], connection=redis).work(burst=True, with_scheduler=True)
        assert job.return_value(refresh=True) == 8


def test_what_cannot_be_followed_is_said(server, monkeypatch):
    with server.clock.follow():
        with pytest.raises(TorilError, match="follows a clock already"):
            with server.clock.follow():
                pass
    with Server() as still:
        with pytest.raises(TorilError, match="start it with clock=True"):
            still.clock.follow()
    monkeypatch.setenv("TORIL_PRELOAD", "/none.so")
    with pytest.raises(TorilError, match="cannot follow without /none.so, which is for Linux with glibc"):
        with server.clock.follow():
            pass
