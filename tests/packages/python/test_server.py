"""`Server` as a program uses it."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest
import redis.exceptions
from redis import Redis
from toril import Server, TorilError


def runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def ends(pid):
    deadline = time.monotonic() + 1
    while runs(pid):
        assert time.monotonic() < deadline, f"server {pid} lives on"
        time.sleep(0.005)


def test_it_lives_as_long_as_its_block():
    with Server() as server:
        assert server.url == f"redis://{server.host}:{server.port}"
        assert f"process_id:{server.pid}\r" in server.command("INFO", "server")
        assert server.http is None
        pid = server.pid
    assert not runs(pid)
    with pytest.raises(TorilError, match="is not running"):
        server.command("PING")


def test_asyncio_starts_and_stops_it():
    async def use():
        async with Server() as server:
            assert await server.aio.command("PING") == "PONG"
            return server.pid

    assert not runs(asyncio.run(use()))


def test_replies_are_values():
    with Server() as server:
        run = server.command
        assert run("ZADD", "zset", "1.5", "ä") == 1
        assert run("ZSCORE", "zset", "ä") == 1.5
        assert run("GET", "none") is None
        long = "é" * 1_000_000
        run("SET", "long", long)
        assert run("GET", "long") == long
        wrong = "^WRONGTYPE Operation against a key holding the wrong kind of value$"
        with pytest.raises(TorilError, match=wrong):
            run("LPUSH", "long", "x")


def test_flush_names_the_job_that_is_active():
    with Server() as server:
        server.command("RPUSH", "bull:mail:active", "7")
        told = r"^job 7 of mail is active for 1.0 s: close the worker, or await it, before flush\(\)$"
        with pytest.raises(TorilError, match=told):
            server.flush()
        server.command("DEL", "bull:mail:active")
        server.command("ZADD", "rq:wip:default", "1", "job")
        with pytest.raises(TorilError, match="^job job of default is active"):
            server.flush()
        server.command("DEL", "rq:wip:default")
        server.command("SET", "key", "value")
        server.flush()
        assert server.command("DBSIZE") == 0


def test_a_fault_fails_others_as_it_says_until_flush_ends_it():
    with Server() as server:
        client = Redis.from_url(server.url)
        assert server.fault("oom set count=1 name=full") == "full"
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.set("key", "value")
        assert client.set("key", "value")
        server.fault(action="error", text="ERR not now", cmd=["get", "mget"])
        with pytest.raises(redis.exceptions.ResponseError, match="not now"):
            client.get("key")
        # The connection that makes faults suffers none.
        assert server.command("GET", "key") == "value"
        server.flush()
        assert client.get("key") is None
        with pytest.raises(TorilError, match="'get' in the fault 'oom set get' has no key"):
            server.fault("oom set get")
        with pytest.raises(TorilError, match="nonsense"):
            server.fault("nonsense")


def test_what_is_refused_elsewhere_is_refused():
    with Server(strict=True, provider="redis-6.2") as server:
        # The connection of the test itself may do all.
        client = Redis.from_url(server.url)
        with pytest.raises(redis.exceptions.ResponseError, match="unknown command"):
            client.execute_command("EXPIRETIME", "key")
        assert client.info("server")["redis_version"] == "6.2.14"


def test_data_is_kept_under_a_name_and_brought_back():
    with Server() as server:
        server.command("SET", "key", "seed")
        server.snapshot("seed")
        server.snapshot()
        server.command("SET", "key", "other")
        server.restore("seed")
        assert server.command("GET", "key") == "seed"
        server.flush()
        server.restore()
        assert server.command("GET", "key") == "seed"
        with pytest.raises(TorilError, match="^ERR no snapshot 'sed': there are 'default', 'seed'$"):
            server.restore("sed")


def test_the_clock_goes_by_itself():
    with Server(clock=True) as server:
        now_ms = int(server.command("TIME")[0]) * 1000
        server.command("HSET", "bull:mail:meta", "opts.maxLenEvents", "10000")
        server.command("ZADD", "bull:mail:delayed", (now_ms + 86_400_000) * 4096, "1")
        server.clock.auto()
        deadline = time.monotonic() + 10
        while server.clock.read()["offset_ms"] < 86_390_000:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        server.clock.resume()
        assert server.clock.read()["mode"] == "running"
        server.clock.keep("lease:*")
        assert "lease:*" in server.clock.read()["kept"]
        server.clock.freeze()
        assert server.clock.read()["mode"] == "frozen"


def test_idle_says_who_failed_and_what_is_left():
    with Server() as server:
        server.command("HSET", "bull:mail:meta", "opts.maxLenEvents", "10000")
        assert server.idle("mail")["queues"]["mail"] == {"completed": 0, "failed": 0, "delayed": 0}
        failure = ("event", "failed", "jobId", "7", "failedReason", "no address")
        server.command("XADD", "bull:mail:events", "*", *failure)
        with pytest.raises(TorilError, match="^jobs have failed: 1\nmail: job 7 "):
            server.idle()
        server.command("XADD", "bull:mail:events", "*", *failure)
        server.idle(allow_failed=True)
        server.command("RPUSH", "bull:mail:active", "8")
        with pytest.raises(TorilError, match="(?s)^not idle after .*mail  1 active  job 8"):
            server.idle(timeout=50)


def test_expect_looks_back_and_says_what_came_nearest():
    with Server() as server:
        server.command("HSET", "bull:mail:7", "name", "welcome", "data", '{"to":"ada@example.com"}')
        server.command("XADD", "bull:mail:events", "*", "event", "completed", "jobId", "7", "returnvalue", "null")
        server.expect("mail", state="completed", within=50)
        with pytest.raises(TorilError):
            server.expect("mail", state="failed", within=50)
        server.expect("mail", state="failed", within=50, never=True)


def test_an_early_end_says_what_the_server_said():
    with pytest.raises(TorilError, match="(?s)^toril ended with status 1 before it was ready: .*maxmemory"):
        Server("--maxmemory", "plenty").start()


def test_a_server_that_died_is_not_stopped_silently():
    server = Server().start()
    os.kill(server.pid, signal.SIGKILL)
    ends(server.pid)
    with pytest.raises(TorilError, match="^toril ended with status -9 while it was in use"):
        server.stop()
    server.stop()


def test_the_binary_is_on_the_path_of_scripts():
    from importlib.metadata import version

    program = os.path.join(os.path.dirname(sys.executable), "toril")
    said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    assert f"(toril {version('toril')}" in said


def test_a_binary_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("TORIL_BINARY", "/none")
    with pytest.raises(FileNotFoundError, match="/none"):
        Server().start()


PARENT = """
import os, time
from toril import Server
{more}
print(server.pid, flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize(
    "more",
    [
        "server = Server().start()",
        # A thread that has ended: the server belongs to the process.
        "import threading; server = Server(); t = threading.Thread(target=server.start); t.start(); t.join()",
        # A sibling made by a bare fork holds all that the parent had open.
        "server = Server().start()\nif os.fork() == 0: time.sleep(3); os._exit(0)",
    ],
)
def test_it_ends_with_its_parent(more):
    parent = subprocess.Popen([sys.executable, "-c", PARENT.format(more=more)], stdout=subprocess.PIPE)
    pid = int(parent.stdout.readline())
    time.sleep(0.3)
    assert runs(pid)
    parent.kill()
    ends(pid)
    parent.stdout.close()
    parent.wait()
