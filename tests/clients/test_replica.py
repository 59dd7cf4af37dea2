"""redis-py reads from a server that follows another."""

import json
import os
import subprocess

import pytest
import redis

from support import until

PROGRAM = os.environ.get("TORIL_SERVER", "redis-server")


@pytest.fixture
def start():
    """Starts servers of the test's own, which answer their port."""
    running = []

    def start(*options):
        args = [PROGRAM, "--port", "0", "--announce", "json", *options]
        process = subprocess.Popen(args, stdout=subprocess.PIPE, text=True)
        running.append(process)
        for line in process.stdout:
            if line.startswith('{"toril":'):
                return json.loads(line)["port"]
        pytest.skip("this server has no TORIL")

    yield start
    for process in running:
        process.kill()
        process.wait()


def test_what_was_written_to_the_primary_is_read_from_the_replica(start):
    primary_port = start()
    replica_port = start("--replicaof", f"127.0.0.1 {primary_port}")
    primary = redis.Redis(port=primary_port, decode_responses=True)
    replica = redis.Redis(port=replica_port, decode_responses=True)
    with primary, replica:
        until(lambda: primary.wait(1, 100) == 1)
        primary.hset("h", mapping={"f": "1"})
        primary.zadd("z", {"m": 1.5})
        assert primary.wait(1, 1_000) == 1
        assert replica.hgetall("h") == {"f": "1"}
        assert replica.zrange("z", 0, -1, withscores=True) == [("m", 1.5)]
        with pytest.raises(redis.exceptions.ReadOnlyError):
            replica.set("k", "v")
        info = replica.info("replication")
        assert (info["role"], info["master_link_status"]) == ("slave", "up")
        assert info["master_port"] == primary_port

        replica.replicaof("NO", "ONE")
        replica.set("k", "v")
        assert replica.get("k") == "v"
