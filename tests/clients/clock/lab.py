"""What the time tables in Python need: a server whose clock moves, and workers as programs that
follow it by the library in packaging/preload.

The server is started by the package for PyPI, from its sources.
"""

import datetime
import os
import pathlib
import subprocess
import sys
import time

import pytest
import redis
from support import until, working

PACKAGING = pathlib.Path(__file__).parents[3] / "packaging"
sys.path.append(str(PACKAGING / "pypi"))

import toril

HOUR_S = 3_600
DAY_S = 24 * HOUR_S

#: Libraries that look once a second take as long for each step: in brief there are two.
IS_WHOLE = os.environ.get("TORIL_TABLES") == "whole"
HOURS, DAYS = (24, 7) if IS_WHOLE else (2, 2)

#: What is due at once takes as long as a library looks away, which is a second at most.
SOON_S = 5

#: Long enough for a worker to take a job that it should not.
WHILE_S = 1.2


@pytest.fixture(scope="session")
def preload(tmp_path_factory):
    library = tmp_path_factory.mktemp("preload") / "libtoril_clock.so"
    source = str(PACKAGING / "preload/clock.c")
    flags = ["-shared", "-fPIC", "-O2", "-Wl,-Bsymbolic", "-o", str(library)]
    subprocess.run(["cc", *flags, source, "-ldl", "-lpthread"], check=True)
    return library


@pytest.fixture
def server(preload, monkeypatch):
    program = os.environ.get("TORIL_SERVER", "redis-server")
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    if "(toril " not in told.stdout:
        pytest.skip("this server has no TORIL")
    monkeypatch.setenv("TORIL_BINARY", program)
    monkeypatch.setenv("TORIL_PRELOAD", str(preload))
    with toril.Server(clock=True) as server:
        yield server


@pytest.fixture
def client(server):
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        yield client


def worker(server, *arguments, **environment):
    """A program that follows the server's clock."""
    return working(*arguments, **server.env, **environment)


def jump(server, seconds):
    server.clock.advance(datetime.timedelta(seconds=seconds), jump=True)


def moments(client):
    """When jobs say that they ran, in seconds since 1970."""
    return [float(moment) for moment in client.lrange("ran", 0, -1)]


def seconds_until(client, count):
    """Waits until jobs have run so often, and tells how long that took."""
    begun = time.monotonic()
    until(lambda: client.llen("ran") >= count)
    return time.monotonic() - begun


def minutes_since(client, start):
    return [round((moment - start) / 60) for moment in moments(client)]


def are_an_hour_apart(client):
    """To the second, but for how long a library looks away."""
    ran = moments(client)
    gaps = [late - early for early, late in zip(ran, ran[1:])]
    return all(abs(gap - HOUR_S) < SOON_S for gap in gaps)


def times_of_day(client):
    """To the minute, for the same reason."""
    return [time.strftime("%H:%M", time.gmtime(moment)) for moment in moments(client)]


def check_delayed(server, client, start):
    """A job that was put off by a day from `start` runs when that day is over."""
    jump(server, DAY_S - 60)
    time.sleep(WHILE_S)
    assert moments(client) == []
    jump(server, 61)
    assert seconds_until(client, 1) < SOON_S
    assert minutes_since(client, start) == [24 * 60]


def check_across_the_jump(server, client, is_completed):
    """A job that `clock.jobs.hold` is at runs once, and ends as if the clock had not jumped."""
    seconds_until(client, 1)
    jump(server, DAY_S)
    time.sleep(WHILE_S)
    client.rpush("gate", "open")
    until(is_completed)
    time.sleep(WHILE_S)
    assert client.llen("ran") == 1
