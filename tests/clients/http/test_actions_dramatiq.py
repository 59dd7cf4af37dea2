"""The actions of the page on queues of dramatiq, beside what its broker does: on twin queues the
library does one and toril's script the other, and then the keys of both are compared. Then workers
must see them.
"""

import json
import os
import pathlib
import sys
import uuid

import dramatiq
import pytest
import redis

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from actions_support import ask, keys_of, refusal, refuse_odd
from support import URL, until, working

NAME = os.environ["DRAMATIQ_NAME"] = f"dramatiq-{uuid.uuid4()}"
import dramatiq_actors as actors

QUEUE = f"{NAME}:default"
WORKERS = ["-m", "dramatiq", "--processes=1", "--threads=1", "dramatiq_actors"]
HOUR_MS = 3_600_000
QUICK = {"dramatiq_worker_timeout": "100"}


@pytest.fixture
def client():
    with redis.Redis.from_url(URL) as client:
        client.delete(*client.keys(f"{NAME}*"), "none")
        yield client
        client.delete(*client.keys(f"{NAME}*"), "none")


def notes(client):
    return [note.decode() for note in client.lrange(f"{NAME}-notes", 0, -1)]


def plain(client):
    """The queue's keys, without what differs between twins: ids, and moments."""

    def message(text):
        told = json.loads(text)
        del told["message_id"], told["message_timestamp"], told["options"]["redis_message_id"]
        if "eta" in told["options"]:
            told["options"]["eta"] = told["options"]["eta"] <= client.time()[0] * 1000 + 999
        return told

    def short(kept):
        return list(map(message, kept.values())) if isinstance(kept, dict) else len(kept)

    return {key: short(kept) for key, kept in keys_of(client, f"{QUEUE}*").items()}


def fail_for_good(client, text):
    """A message that has failed for good: its worker has taken and refused it."""
    sent = actors.write_down.send(text)
    consumer = actors.broker.consume("default", timeout=100)
    taken = next(consumer)
    taken.options["traceback"] = "ValueError: as asked"
    consumer.nack(taken)
    consumer.close()
    assert client.zcard(f"{QUEUE}.XQ") == 1
    return sent


def test_dead_letters_are_retried_as_by_the_broker(client):
    fail_for_good(client, "dead")
    [letter] = client.hvals(f"{QUEUE}.XQ.msgs")
    client.delete(f"{QUEUE}.XQ", f"{QUEUE}.XQ.msgs")
    actors.broker.enqueue(dramatiq.Message.decode(letter))
    expected = plain(client)
    client.delete(*client.keys(f"{QUEUE}*"))
    sent = fail_for_good(client, "dead")
    assert plain(client) != expected
    assert ask(QUEUE, "retry", ids=[sent.message_id])["told"] == f"Retried 1 job of default"
    assert plain(client) == expected
    with working(*WORKERS, **QUICK):
        until(lambda: notes(client) == ["dead"])
        until(lambda: not client.exists(f"{QUEUE}.msgs"))


def test_a_delayed_message_is_due_as_one_that_was_not_put_off(client):
    actors.write_down.send_with_options(args=["later"], kwargs={}, delay=0)
    expected = plain(client)
    client.delete(*client.keys(f"{QUEUE}*"))
    sent = actors.write_down.send_with_options(args=["later"], delay=HOUR_MS)
    assert plain(client) != expected
    assert ask(QUEUE, "promote", ids=[sent.message_id])["done"] == 1
    assert plain(client) == expected
    with working(*WORKERS, **QUICK):
        until(lambda: notes(client) == ["later"])


def test_a_whole_state_is_due_piece_by_piece(client):
    for number in range(300):
        actors.write_down.send_with_options(args=[str(number)], delay=HOUR_MS + number)
    first = ask(QUEUE, "promote", state="delayed", count=300)
    assert (first["done"], first["left"]) == (250, 50)
    second = ask(QUEUE, "promote", state="delayed", count=50, before=250, skip=first["skip"])
    assert (second["told"], second["left"]) == ("Let 300 jobs of default run now", 0)
    due = [it["options"]["eta"] for it in plain(client)[f"{QUEUE}.DQ.msgs".encode()]]
    assert due == [True] * 300


def test_messages_are_removed_as_if_they_had_never_been(client):
    assert plain(client) == {}
    dead = fail_for_good(client, "dead")
    waiting = actors.write_down.send("waiting")
    later = actors.write_down.send_with_options(args=["later"], delay=HOUR_MS)
    for sent in (waiting, later, dead):
        assert ask(QUEUE, "remove", ids=[sent.message_id])["refused"] == []
    assert plain(client) == {}
    for text in ("a", "b", "c"):
        actors.write_down.send(text)
    first = ask(QUEUE, "clean", state="waiting", count=2)
    assert (first["done"], first["told"]) == (2, "Removed 2 jobs of default")
    assert [it["args"] for it in plain(client)[f"{QUEUE}.msgs".encode()]] == [["c"]]


def test_keys_that_are_odd_are_named_and_nothing_is_changed(client):
    dead = fail_for_good(client, "dead")
    waiting = actors.write_down.send("waiting")
    later = actors.write_down.send_with_options(args=["later"], delay=HOUR_MS)
    orders = [("remove", {"ids": [it.message_id]}) for it in (dead, waiting, later)]
    orders += [("retry", {"ids": [dead.message_id]}), ("promote", {"ids": [later.message_id]})]
    orders += [("clean", {"state": "waiting", "count": 9})]
    hashes = [f"{QUEUE}{end}.msgs" for end in ("", ".DQ", ".XQ")]
    refuse_odd(client, QUEUE, {"list": [QUEUE, f"{QUEUE}.DQ"], "zset": [f"{QUEUE}.XQ"], "hash": hashes}, orders)


def test_what_a_worker_keeps_until_it_is_due_is_left_to_it(client):
    with working(*WORKERS, **QUICK):
        sent = actors.write_down.send_with_options(args=["later"], delay=HOUR_MS)
        until(lambda: not client.exists(f"{QUEUE}.DQ"))
        told = ask(QUEUE, "promote", ids=[sent.message_id])["refused"]
        assert told == [f"Job {sent.message_id} is with a worker already"]
        assert ask(QUEUE, "remove", ids=[sent.message_id])["done"] == 0
        assert client.hlen(f"{QUEUE}.DQ.msgs") == 1
    assert "there is no retry of what is delayed" in refusal(QUEUE, "retry", ids=[sent.message_id])
