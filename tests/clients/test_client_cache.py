"""redis-py with a cache: what was read is kept, until the server says that it has changed."""

import pytest
import redis
from redis.cache import CacheConfig

from support import HOST, PORT, name, until  # noqa: F401, a fixture


@pytest.fixture
def client():
    with redis.Redis(
        host=HOST, port=PORT, protocol=3, cache_config=CacheConfig(), decode_responses=True
    ) as client:
        yield client


@pytest.fixture
def other():
    with redis.Redis(host=HOST, port=PORT, decode_responses=True) as other:
        yield other


def calls(other, command):
    """How often the server has run a command."""
    return other.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"]


def test_what_is_read_twice_is_asked_for_once(client, other, name):
    other.set(name, "first")
    before = calls(other, "get")
    assert [client.get(name) for _ in range(5)] == ["first"] * 5
    assert calls(other, "get") - before == 1

    other.set(name, "second")
    until(lambda: client.get(name) == "second")
    assert calls(other, "get") - before == 2
    assert [client.get(name) for _ in range(5)] == ["second"] * 5
    assert calls(other, "get") - before == 2


def test_its_own_change_is_seen(client, name):
    assert client.get(name) is None
    client.set(name, "mine")
    assert client.get(name) == "mine"


def test_what_has_expired_is_no_longer_read(client, other, name):
    other.set(name, "value", px=300)
    assert client.get(name) == "value"
    assert client.get(name) == "value"
    until(lambda: client.get(name) is None)


def test_several_keys_and_types(client, other, name):
    other.mset({f"{name}:a": "1", f"{name}:b": "2"})
    other.hset(f"{name}:h", "field", "1")
    keys = [f"{name}:a", f"{name}:b"]
    assert client.mget(keys) == client.mget(keys) == ["1", "2"]
    assert client.hgetall(f"{name}:h") == client.hgetall(f"{name}:h") == {"field": "1"}

    other.set(f"{name}:b", "3")
    other.hincrby(f"{name}:h", "field", 1)
    until(lambda: client.mget(keys) == ["1", "3"])
    until(lambda: client.hgetall(f"{name}:h") == {"field": "2"})


def test_a_flush_empties_the_cache(client, other, name):
    other.set(name, "value")
    assert client.get(name) == "value"
    assert client.get_cache().size > 0
    other.flushall()
    until(lambda: client.get(name) is None)
