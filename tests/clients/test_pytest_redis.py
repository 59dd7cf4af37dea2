"""pytest-redis starts a redis-server of its own: here the program that TORIL_SERVER names."""

import os

from pytest_redis import factories

redis_server = factories.redis_proc(executable=os.environ.get("TORIL_SERVER", "redis-server"))
redis_client = factories.redisdb("redis_server")


def test_the_fixture_serves(redis_client):
    assert redis_client.set("key", "value")
    assert redis_client.get("key") == b"value"


def test_the_fixture_is_empty_again(redis_client):
    assert redis_client.dbsize() == 0


def test_the_process_has_its_socket(redis_server):
    assert os.path.exists(redis_server.unixsocket)
