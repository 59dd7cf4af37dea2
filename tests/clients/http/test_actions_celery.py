"""The actions of the page on queues of Celery, beside Celery's own: on twin queues the library does
one and toril's script the other, and then the keys of both are compared. Then workers must see them.
"""

import os
import pathlib
import sys
import uuid

import celery.exceptions
import pytest
import redis

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from actions_support import ask, keys_of, refusal, refuse_odd
from support import PATIENCE_S, URL, until, working

NAME = os.environ["CELERY_NAME"] = f"celery-{uuid.uuid4()}-"
import celery_tasks as tasks

QUEUE = f"{NAME}celery"
WORKER = ["-m", "celery", "--app=celery_tasks", "worker", "--concurrency=1", "--loglevel=ERROR"]
WORKER += ["--without-gossip", "--without-mingle"]


@pytest.fixture
def client():
    with redis.Redis.from_url(URL) as client:
        yield client
        # Queues stay bound: the application does not say so twice.
        for key in client.keys(f"{NAME}*"):
            if b"_kombu" not in key:
                client.delete(key)


def notes(client):
    return [note.decode() for note in client.lrange(f"{NAME}:notes", 0, -1)]


def fill():
    """Tasks that wait, two of each priority but the one that is mostly meant."""
    return [tasks.write_down.apply_async([str(n)], priority=n % 10) for n in (0, 10, 3, 13, 9, 19)]


def sizes(client):
    return {key: client.llen(key) for key in client.keys(f"{NAME}*") if client.type(key) == b"list"}


def test_a_queue_is_purged_as_the_library_does(client):
    fill()
    assert sum(sizes(client).values()) == 6
    assert tasks.app.control.purge() == 6
    purged = keys_of(client, f"{NAME}*")
    fill()
    assert keys_of(client, f"{NAME}*") != purged
    told = ask(QUEUE, "clear")
    assert told["told"] == f"Removed 6 jobs that waited in {QUEUE}"
    assert keys_of(client, f"{NAME}*") == purged


def test_messages_are_removed_one_by_one_and_by_their_list(client):
    sent = fill()
    before = sizes(client)
    assert ask(QUEUE, "remove", ids=[sent[2].id, "nobody"])["refused"] == ["Job nobody is not there any more"]
    [key] = [key for key, size in before.items() if sizes(client).get(key) != size]
    assert key.endswith(b"\x06\x163")
    assert sent[3].id.encode() in client.lindex(key, 0)
    assert ask(QUEUE, "clean", state="waiting (9)", count=2)["done"] == 2
    with working(*WORKER):
        until(lambda: len(notes(client)) == 3)
        assert sorted(notes(client)) == ["0", "10", "13"]


def test_keys_that_are_odd_are_named_and_nothing_is_changed(client):
    sent = fill()
    orders = [("clear", {}), ("clean", {"state": "waiting", "count": 9}), ("remove", {"ids": [sent[0].id]})]
    refuse_odd(client, QUEUE, {"list": [f"{QUEUE}{end}" for end in ("", "\6\x163", "\6\x166", "\6\x169")]}, orders)


def test_what_makes_no_sense_is_refused(client):
    [sent] = fill()[:1]
    assert "there is no action 'retry': clean, clear, remove, revoke" in refusal(QUEUE, "retry", ids=[sent.id])
    assert "are not chosen by 'older'" in refusal(QUEUE, "clean", state="waiting", count=9, older="7d")
    assert ask(QUEUE, "revoke", ids=[sent.id])["refused"] == ["No worker is there that could be told"]


def test_workers_do_not_run_what_is_revoked_and_what_they_hold_is_left_to_them(client):
    with working(*WORKER):
        tasks.add.delay(1, 2).get(timeout=PATIENCE_S)
        later = tasks.write_down.apply_async(["never"], countdown=3600)
        until(lambda: client.hlen(f"{NAME}unacked") == 1)
        assert "there is no remove of what is scheduled" in refusal(QUEUE, "remove", ids=[later.id])
        told = ask(QUEUE, "revoke", ids=[later.id])
        assert told["told"] == f"Revoked 1 job of {QUEUE}"
        inspect = tasks.app.control.inspect()
        until(lambda: [later.id] in (inspect.revoked() or {}).values())
        tasks.write_down.apply_async(["never"], task_id=later.id)
        with pytest.raises(celery.exceptions.TaskRevokedError, match="revoked"):
            later.get(timeout=PATIENCE_S)
        assert notes(client) == []
