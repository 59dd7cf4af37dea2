"""huey: plain lists in threads of the test, and priorities and results that expire with consumers
as programs."""

import os
import time
import uuid

import huey.exceptions
import pytest
from huey import RedisHuey
from support import PATIENCE_S, URL, name, notebook, until, working

NAME = os.environ["HUEY_NAME"] = f"huey-{uuid.uuid4()}"
import huey_tasks as tasks

CONSUMER = ["-m", "huey.bin.huey_consumer", "huey_tasks.app", "--quiet"]
CONSUMER += ["--worker-type=process", "--graceful-signal=TERM"]

client, notes = notebook(f"{NAME}-notes")


def result_of(result):
    return result.get(blocking=True, timeout=PATIENCE_S)


def test_a_queue_in_threads(name):
    app = RedisHuey(name, url=URL)

    @app.task()
    def add(x, y):
        return x + y

    results = [add(n, n) for n in range(50)]
    chain = app.enqueue(add.s(1, 1).then(add, 10).then(add, 100))
    assert len(app) == 51
    consumer = app.create_consumer(workers=2, periodic=False)
    consumer.start()
    try:
        assert [result_of(result) for result in results] == [2 * n for n in range(50)]
        assert chain.get(blocking=True, timeout=PATIENCE_S) == [2, 12, 112]
    finally:
        consumer.stop(graceful=True)
    assert len(app) == app.result_count() == 0


def test_a_lock_ends_with_its_time(name):
    # A field of the hash of results has a time to live of its own.
    app = RedisHuey(name, url=URL)
    lock, rival = app.lock_task("alone", ttl=1), app.lock_task("alone", ttl=1)
    lock.acquire()
    with pytest.raises(huey.exceptions.TaskLockedException):
        rival.acquire()
    until(lambda: not rival.is_locked())
    rival.acquire()
    assert rival.clear()


def test_a_consumer_does_what_people_ask_of_it(client):
    for priority in [1, 50, None, 10]:
        tasks.write_down(f"priority {priority}", priority=priority)
    unwanted = tasks.write_down("unwanted", priority=100)
    unwanted.revoke()
    with working(*CONSUMER) as consumer:
        urgent = [f"priority {priority}" for priority in [50, 10, 1, None]]
        until(lambda: len(notes(client)) >= 5)
        assert sorted(notes(client)) == sorted(["every minute", *urgent])
        assert [note for note in notes(client) if note in urgent] == urgent
        client.delete(f"{NAME}-notes")

        asked = time.time()
        tasks.write_down.schedule(["later"], delay=1)
        shaky = tasks.shaky()
        failed = tasks.fail()
        group = [tasks.add(n, n) for n in range(20)]
        assert [result_of(result) for result in group] == [2 * n for n in range(20)]
        assert 3_590 < client.ttl(f"huey.r.{NAME}.{group[0].id}") <= 3_600
        with pytest.raises(huey.exceptions.TaskException, match="as asked"):
            result_of(failed)
        with tasks.app.lock_task("alone"), pytest.raises(huey.exceptions.TaskException) as locked:
            result_of(tasks.work_alone())
        assert locked.value.metadata["error"].startswith("TaskLockedException")
        assert result_of(tasks.work_alone()) == "alone"

        until(lambda: "later" in notes(client))
        assert time.time() >= asked + 1
        until(lambda: len(notes(client)) == 3)
        first, second = [float(note) for note in notes(client) if note != "later"]
        assert second - first >= 1
        assert consumer.stop() == 0
    assert result_of(shaky) == "at last"  # There was a result of the first attempt as well.
    assert len(tasks.app) == tasks.app.scheduled_count() == 0
