"""upstash-redis: Upstash's client for Python, with the options that it ships with.

UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN name the server, as they do for the client.
Each test works on keys of its own.
"""

import asyncio
import os
import threading
import uuid

import pytest
import redis as tcp
from upstash_redis import Redis
from upstash_redis.asyncio import Redis as AsyncRedis
from upstash_redis.errors import UpstashError

TEXTS = [
    "OK",
    "PONG",
    "8",
    "",
    "💜 Ünïcode",
    "%%12",
    "a/b,c&d=e",
    "line\r\nline",
    '{"a": [1, null]}',
    "1.0",
    "1e-07",
    "9007199254740993",
]
SCORES = [0.1, 1e-7, 0.1 + 0.2, 1.0, 1e21]


@pytest.fixture(params=["base64", None], ids=["base64", "plain"])
def client(request):
    with Redis.from_env(rest_encoding=request.param) as client:
        yield client


@pytest.fixture
def name():
    return f"key-{uuid.uuid4()}"


def test_text_comes_back_as_it_was(client, name):
    for text in TEXTS:
        assert client.set(name, text) is True
        assert client.get(name) == text
    assert client.rpush(f"{name}:list", *TEXTS) == len(TEXTS)
    assert client.lrange(f"{name}:list", 0, -1) == TEXTS
    nested = client.eval("return {{{ARGV[1]}, ARGV[2], false, 7}}", args=["OK", "8"])
    assert nested == [[["OK"], "8", None, 7]]
    assert client.ping() == "PONG"


def test_three_megabytes(client, name):
    text = "💜 OK 8 " * 300_000
    assert client.set(name, text) is True
    assert client.get(name) == text


def test_values_of_every_type(client, name):
    assert client.get(name) is None
    assert client.set(name, 8, ex=100) is True
    assert (client.get(name), client.ttl(name)) == ("8", 100)
    assert client.set(name, "second", nx=True) is False
    assert client.set(name, {"json": [1]}, get=True) == "8"
    assert client.get(name) == '{"json": [1]}'
    client.hset(f"{name}:hash", values={"a": "OK", "b": 8})
    assert client.hgetall(f"{name}:hash") == {"a": "OK", "b": "8"}
    assert client.sadd(f"{name}:set", "OK", "8") == 2
    assert sorted(client.smembers(f"{name}:set")) == ["8", "OK"]
    assert client.sismember(f"{name}:set", "OK") is True
    assert client.mget(name, f"{name}:none") == ['{"json": [1]}', None]
    assert client.type(f"{name}:set") == "set"
    assert client.exists(name, f"{name}:hash", f"{name}:none") == 2
    seconds, microseconds = client.time()
    assert seconds > 1_700_000_000 and 0 <= microseconds < 1_000_000


def test_scores_are_floats(client, name):
    client.zadd(name, {f"m{i}": score for i, score in enumerate(SCORES)})
    for i, score in enumerate(SCORES):
        assert client.zscore(name, f"m{i}") == score
    ranged = client.zrange(name, 0, -1, withscores=True)
    assert ranged == sorted(((f"m{i}", s) for i, s in enumerate(SCORES)), key=lambda it: it[1])
    assert client.zmscore(name, ["m0", "none"]) == [0.1, None]
    assert client.zincrby(name, 0.2, "m0") == 0.1 + 0.2
    assert client.incrbyfloat(f"{name}:float", 0.1) == 0.1


def test_large_integers_keep_their_digits(client, name):
    assert client.incrby(name, 9007199254740993) == 9007199254740993
    assert client.get(name) == "9007199254740993"
    assert client.decrby(name, 18014398509481986) == -9007199254740993


def test_streams(client, name):
    first = client.xadd(name, "*", {"field": "OK"})
    client.xadd(name, "*", {"field": "8", "other": "💜"}, maxlen=10)
    assert client.xlen(name) == 2
    assert client.xrange(name, "-", "+")[0] == [first, ["field", "OK"]]


def test_scan_finds_all(client, name):
    keys = {f"{name}:{i}" for i in range(250)}
    client.mset({key: 1 for key in keys})
    found, cursor = set(), 0
    while True:
        cursor, page = client.scan(cursor, match=f"{name}:*", count=50)
        found.update(page)
        if cursor == 0:
            break
    assert found == keys


def test_a_pipeline_answers_in_order(client, name):
    pipeline = client.pipeline()
    for i in range(1000):
        pipeline.rpush(name, f"OK{i}")
    assert pipeline.exec() == list(range(1, 1001))
    assert client.lrange(name, 0, 1) == ["OK0", "OK1"]

    failing = client.pipeline().set(f"{name}:after", 1).incr(name).set(f"{name}:after", 2)
    with pytest.raises(UpstashError, match="WRONGTYPE"):
        failing.exec()
    assert client.get(f"{name}:after") == "2", "it went on"


def test_transactions_of_many_threads_are_not_mixed(name):
    turns = []

    def work(number):
        with Redis.from_env() as client:
            for _ in range(20):
                multi = client.multi()
                multi.set(name, f"owner {number}").incr(f"{name}:a").get(name).incr(f"{name}:b")
                ok, first, owner, second = multi.exec()
                assert (ok, owner, first) == (True, f"owner {number}", second)
                turns.append(first)

    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(turns) == list(range(1, 161))


def test_a_transaction_is_refused_as_a_whole(client, name):
    multi = client.multi().set(name, "lost")
    multi.execute(["JSON.GET", name])
    with pytest.raises(AttributeError):  # The client takes any answer for a list, and stumbles.
        multi.exec()
    assert client.exists(name) == 0


def test_scripts(client, name):
    script = f"-- {name}\nreturn redis.call('INCRBY', KEYS[1], ARGV[1])"
    with pytest.raises(UpstashError, match="NOSCRIPT No matching script"):
        client.evalsha("0" * 40, keys=[name], args=[5])
    sha1 = client.script_load(script)
    assert client.evalsha(sha1, keys=[name], args=[5]) == 5
    assert client.eval(script, keys=[name], args=[5]) == 10
    assert client.script_exists(sha1, "0" * 40) == [True, False]
    assert client.script_flush() is True
    assert client.script_exists(sha1) == [False]
    assert client.eval_ro("return redis.call('GET', KEYS[1])", keys=[name]) == "10"


def test_errors(client, name):
    client.set(name, "text")
    with pytest.raises(UpstashError, match="ERR value is not an integer or out of range"):
        client.incr(name)
    with pytest.raises(UpstashError, match="ERR Command is not available: 'JSON.GET'"):
        client.json.get(name)
    with pytest.raises(UpstashError, match='ERR Command "BLPOP" is not allowed in REST'):
        client.execute(["BLPOP", name, 0])
    url = os.environ["UPSTASH_REDIS_REST_URL"]
    with Redis(url, "wrong") as stranger, pytest.raises(UpstashError, match="WRONGPASS"):
        stranger.get(name)
    with Redis(url, os.environ["TORIL_READONLY_TOKEN"]) as reader:
        assert reader.get(name) == "text"
        with pytest.raises(UpstashError, match="NOPERM .* to run the 'set' command"):
            reader.set(name, "changed")


def test_the_sync_token_follows_writes(client, name):
    seen = set()
    for number in range(5):
        client.set(name, number)
        seen.add(client._sync_token)
    assert len(seen) == 5 and all(seen)


def test_the_asynchronous_client(name):
    async def work():
        async with AsyncRedis.from_env() as client:
            counts = await asyncio.gather(*(client.incr(name) for _ in range(100)))
            assert sorted(counts) == list(range(1, 101))
            assert await client.multi().set(name, "OK").get(name).exec() == [True, "OK"]

    asyncio.run(work())


def test_the_same_data_over_tcp(client, name):
    host, port = os.environ["TORIL_HOST"], int(os.environ["TORIL_PORT"])
    with tcp.Redis(host, port, decode_responses=True) as other:
        client.set(name, "by HTTP 💜", px=60_000)
        assert other.get(name) == "by HTTP 💜"
        assert 0 < other.pttl(name) <= 60_000
        other.rpush(f"{name}:list", "by TCP")
        assert client.lpop(f"{name}:list") == "by TCP"
        pubsub = other.pubsub()
        pubsub.subscribe(name)
        assert pubsub.get_message(timeout=5)["type"] == "subscribe"
        assert client.publish(name, "hello") == 1
        assert pubsub.get_message(timeout=5)["data"] == "hello"
