"""Celery on Kombu's transport for Redis: in threads of the test, and with workers as programs."""

import contextlib
import datetime
import os
import time
import uuid

import celery
import celery.contrib.testing.worker
import celery.exceptions
import pytest
from support import PATIENCE_S, URL, name, notebook, until, working

NAME = os.environ["CELERY_NAME"] = f"celery-{uuid.uuid4()}-"
import celery_tasks as tasks

client, notes = notebook(f"{NAME}:notes")


@contextlib.contextmanager
def a_worker(**environment):
    command = ["-m", "celery", "--app=celery_tasks", "worker", "--concurrency=1"]
    command += ["--loglevel=ERROR", "--without-gossip", "--without-mingle"]
    with working(*command, **environment) as worker:
        yield worker


def test_tasks_run_in_threads(name):
    app = celery.Celery(broker=URL, backend=URL, set_as_current=False)
    app.conf.update(task_default_queue=name, worker_hijack_root_logger=False)

    @app.task(name="add")
    def add(x, y):
        return x + y

    worker = celery.contrib.testing.worker.start_worker(
        app, pool="threads", concurrency=2, perform_ping_check=False, loglevel="CRITICAL"
    )
    with worker:
        assert add.delay(1, 2).get(timeout=PATIENCE_S) == 3
        group = celery.group(add.s(n, n) for n in range(20))
        assert group().get(timeout=PATIENCE_S) == [2 * n for n in range(20)]


def test_what_a_killed_worker_held_another_does(client):
    with a_worker() as first:
        result = tasks.survive.delay()
        until(lambda: notes(client) == ["first"])
        first.kill()
    assert client.zcard(f"{NAME}unacked_index") == client.hlen(f"{NAME}unacked") == 1
    time.sleep(1)
    with a_worker(CELERY_VISIBILITY_S="1"):
        assert result.get(timeout=PATIENCE_S) == "survived"
        assert notes(client) == ["first", "again"]
        until(lambda: not client.exists(f"{NAME}unacked"))


def test_a_worker_does_what_people_ask_of_it(client):
    for priority in [9, 3, 0, 6, 0]:  # Before there is a worker. 0 is the most urgent.
        tasks.write_down.apply_async([f"priority {priority}"], priority=priority)
    with a_worker():
        urgent = [f"priority {priority}" for priority in [0, 0, 3, 6, 9]]
        until(lambda: len(notes(client)) == 5)
        assert notes(client) == urgent
        client.delete(f"{NAME}:notes")

        asked = time.time()
        eta = datetime.datetime.fromtimestamp(asked + 0.5, datetime.timezone.utc)
        later = [tasks.write_down.apply_async(["eta"], eta=eta)]
        later += [tasks.write_down.apply_async(["countdown"], countdown=0.3)]
        shaky = tasks.shaky.delay()

        # A chain, a chord, of which the last result starts the body, and one that breaks.
        chain = celery.chain(tasks.add.s(1, 1), tasks.add.s(10), tasks.add.s(100))
        assert chain().get(timeout=PATIENCE_S) == 112
        chord = celery.chord(tasks.add.s(n, n) for n in range(10))
        assert chord(tasks.total.s()).get(timeout=PATIENCE_S) == 90
        broken = celery.chord([tasks.add.s(1, 1), tasks.fail.s()])(tasks.total.s())
        with pytest.raises(ValueError, match="as asked"):
            broken.get(timeout=PATIENCE_S)
        until(broken.ready)
        assert isinstance(broken.result, celery.exceptions.ChordError)

        for result in later:
            result.get(timeout=PATIENCE_S)
        assert time.time() >= asked + 0.5
        assert shaky.get(timeout=PATIENCE_S) == "at last"
        attempts = [float(note) for note in notes(client) if note[0].isdigit()]
        assert len(attempts) == 3
        assert all(late - early >= 0.2 for early, late in zip(attempts, attempts[1:]))
        assert [note for note in notes(client) if note[0].isalpha()] == ["countdown", "eta"]

        # Results have a time to live, and go when they are forgotten.
        failed = tasks.fail.delay()
        with pytest.raises(ValueError, match="as asked"):
            failed.get(timeout=PATIENCE_S)
        key = f"{NAME}celery-task-meta-{failed.id}"
        assert 86_390 < client.ttl(key) <= 86_400
        failed.forget()
        assert not client.exists(key)

        # What is too old or was revoked is not done. Orders to workers are messages to a channel,
        # and their answers come on a list.
        expired = tasks.write_down.apply_async(["too late"], expires=-1)
        with pytest.raises(celery.exceptions.TaskRevokedError, match="expired"):
            expired.get(timeout=PATIENCE_S)
        control = tasks.app.control
        unwanted = str(uuid.uuid4())
        [reply] = control.revoke(unwanted, reply=True, limit=1, timeout=PATIENCE_S)
        assert list(reply.values())[0].keys() == {"ok"}
        revoked = tasks.write_down.apply_async(["unwanted"], task_id=unwanted)
        with pytest.raises(celery.exceptions.TaskRevokedError, match="revoked"):
            revoked.get(timeout=PATIENCE_S)
        assert len(notes(client)) == 5
