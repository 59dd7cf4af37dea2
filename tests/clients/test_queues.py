"""Queues as Python programs build them: by hand on redis-py.

Each test works on keys of its own.
"""

import json
import multiprocessing
import threading
import time

import pytest
import redis
from support import HOST, PATIENCE_S, PORT, name, until


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def client(request):
    with redis.Redis(HOST, PORT, protocol=request.param, decode_responses=True) as client:
        yield client


def in_threads(*bodies):
    threads = [threading.Thread(target=body) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# LPUSH and BRPOP: the simplest queue.


def test_a_queue_keeps_its_order(client, name):
    client.lpush(name, *range(100))
    assert [client.brpop(name, 1)[1] for _ in range(100)] == [str(n) for n in range(100)]
    assert client.brpop(name, 0.05) is None


def test_workers_share_a_queue_without_a_job_done_twice(client, name):
    done = []

    def work():
        with redis.Redis(HOST, PORT, decode_responses=True) as worker:
            while (job := worker.brpop(name, PATIENCE_S)[1]) != "stop":
                done.append(int(job))

    def produce():
        for number in range(500):
            client.lpush(name, number)
        client.lpush(name, *["stop"] * 4)

    in_threads(work, work, work, work, produce)

    assert sorted(done) == list(range(500))
    assert client.exists(name) == 0


def test_the_worker_that_waits_longest_is_served_first(client, name):
    served = []

    def wait(number):
        with redis.Redis(HOST, PORT, decode_responses=True) as worker:
            served.append((number, worker.brpop(name, PATIENCE_S)[1]))

    threads = []
    for number in range(3):
        threads.append(threading.Thread(target=wait, args=[number]))
        threads[-1].start()
        time.sleep(0.1)
    for element in ["a", "b", "c"]:
        client.lpush(name, element)
    for thread in threads:
        thread.join()

    assert sorted(served) == [(0, "a"), (1, "b"), (2, "c")]


# BLMOVE: a job stays on a list of its worker until it is done.


def hold_a_job(name, held):
    worker = redis.Redis(HOST, PORT)
    worker.blmove(name, f"{name}:doing", PATIENCE_S, "RIGHT", "LEFT")
    held.set()
    time.sleep(PATIENCE_S)


def test_a_job_survives_the_death_of_its_worker(client, name):
    client.lpush(name, "first", "second")
    held = multiprocessing.Event()
    doomed = multiprocessing.Process(target=hold_a_job, args=[name, held])
    doomed.start()
    assert held.wait(PATIENCE_S)
    doomed.kill()
    doomed.join()
    assert client.lrange(f"{name}:doing", 0, -1) == ["first"]

    assert client.lmove(f"{name}:doing", name, "RIGHT", "RIGHT") == "first"

    done = []
    while job := client.blmove(name, f"{name}:doing", 0.05, "RIGHT", "LEFT"):
        done.append(job)
        assert client.lrem(f"{name}:doing", 1, job) == 1
    assert done == ["first", "second"]
    assert client.exists(name, f"{name}:doing") == 0


def test_no_element_is_moved_to_a_worker_that_has_gone(client, name):
    gone = client.connection_pool.get_connection()
    gone.send_command("CLIENT", "ID")
    gone_id = str(gone.read_response())
    gone.send_command("BLMOVE", name, f"{name}:doing", "RIGHT", "LEFT", PATIENCE_S)
    clients = lambda: {entry["id"]: entry for entry in client.client_list()}
    until(lambda: "b" in clients()[gone_id]["flags"])
    gone.disconnect()
    until(lambda: gone_id not in clients())

    client.lpush(name, "kept")

    assert client.lrange(name, 0, -1) == ["kept"]
    assert client.exists(f"{name}:doing") == 0


# Sidekiq: JSON on several lists, popped in order of priority; a sorted set of what comes later.

POP_DUE = """
local due = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, 1)
if due[1] then
  redis.call('ZREM', KEYS[1], due[1])
  return due[1]
end
"""


def test_jobs_of_sidekiqs_shape(client, name):
    queues = [f"{name}:critical", f"{name}:default"]
    pop_due = client.register_script(POP_DUE)

    def push(queue, jid):
        with client.pipeline(transaction=True) as pipeline:
            pipeline.sadd(f"{name}:queues", queue)
            pipeline.lpush(queue, json.dumps({"jid": jid, "class": "HardJob", "args": [1, None]}))
            return pipeline.execute()

    assert push(queues[1], "one") == [1, 1]
    assert push(queues[0], "two") == [1, 1]
    due_at = time.time() + 0.3
    client.zadd(f"{name}:schedule", {"later": due_at, "never": due_at + 3600})

    assert [json.loads(client.brpop(queues, 1)[1])["jid"] for _ in range(2)] == ["two", "one"]
    assert pop_due(keys=[f"{name}:schedule"], args=[time.time()]) is None
    assert until(lambda: pop_due(keys=[f"{name}:schedule"], args=[time.time()])) == "later"
    assert time.time() >= due_at
    assert client.zrange(f"{name}:schedule", 0, -1) == ["never"]
    assert client.smembers(f"{name}:queues") == set(queues)


# The client itself.


def test_transactions_retry_when_a_watched_key_changes(client, name):
    def add_one(pipe):
        value = int(pipe.get(name) or 0)
        pipe.multi()
        pipe.set(name, value + 1)

    def add_fifty():
        with redis.Redis(HOST, PORT, decode_responses=True) as worker:
            for _ in range(50):
                worker.transaction(add_one, name)

    in_threads(add_fifty, add_fifty)
    assert int(client.get(name)) == 100


def test_errors_become_exceptions_of_their_own(client, name):
    client.rpush(name, "element")
    with pytest.raises(redis.ResponseError, match="^WRONGTYPE Operation against a key"):
        client.incr(name)
    with pytest.raises(redis.exceptions.NoScriptError):
        client.evalsha("0" * 40, 0)


def test_messages_are_heard(client, name):
    with client.pubsub() as listener:
        listener.subscribe(name)
        listener.psubscribe(f"{name}*")
        for kind in ["subscribe", "psubscribe"]:
            assert listener.get_message(timeout=5)["type"] == kind
        assert client.publish(name, "hello") == 2
        heard = [listener.get_message(timeout=5) for _ in range(2)]
    assert [message["type"] for message in heard] == ["message", "pmessage"]
    assert {message["data"] for message in heard} == {"hello"}
