"""dramatiq, with workers as programs: its broker is one script, its results and limits are not."""

import os
import time
import uuid

import dramatiq
import pytest
from dramatiq.results import ResultMissing
from support import PATIENCE_S, notebook, until, working

NAME = os.environ["DRAMATIQ_NAME"] = f"dramatiq-{uuid.uuid4()}"
import dramatiq_actors as actors

PATIENCE_MS = 1_000 * PATIENCE_S
WORKERS = ["-m", "dramatiq", "--processes=1", "--threads=2", "dramatiq_actors"]

client, notes = notebook(f"{NAME}-notes")


def some_workers(**environment):
    # They look for messages at least every 100 ms.
    return working(*WORKERS, dramatiq_worker_timeout="100", **environment)


def result_of(message):
    return message.get_result(block=True, timeout=PATIENCE_MS)


def test_messages_are_worked_off(client):
    # Before there is a worker: messages wait in their order.
    for text in ["first", "second", "third"]:
        actors.write_down.send(text)
    assert client.llen(f"{NAME}:default") == client.hlen(f"{NAME}:default.msgs") == 3
    with some_workers() as workers:
        until(lambda: len(notes(client)) == 3)
        assert sorted(notes(client)) == ["first", "second", "third"]
        client.delete(f"{NAME}-notes")

        asked = time.time()
        actors.write_down.send_with_options(args=["later"], delay=500)
        group = dramatiq.group(actors.add.message(n, n) for n in range(20)).run()
        group.wait(timeout=PATIENCE_MS)
        assert list(group.get_results()) == [2 * n for n in range(20)]
        chain = actors.add.message(1, 1) | actors.add.message(10) | actors.add.message(100)
        assert chain.run().get_result(block=True, timeout=PATIENCE_MS) == 112
        until(lambda: notes(client) == ["later"])
        assert time.time() >= asked + 0.5
        client.delete(f"{NAME}-notes")

        assert result_of(actors.shaky.send()) == "at last"
        attempts = [float(note) for note in notes(client)]
        assert len(attempts) == 3 and attempts[1] - attempts[0] >= 0.05

        # What fails for good lies with the dead letters, from where it may be read for a week.
        failed = actors.fail.send()
        until(lambda: client.zcard(f"{NAME}:default.XQ"))
        [letter] = client.hvals(f"{NAME}:default.XQ.msgs")
        letter = dramatiq.Message.decode(letter.encode())
        assert letter.message_id == failed.message_id
        assert "ValueError: as asked" in letter.options["traceback"]

        allowed = [actors.work_alone.send() for _ in range(2)]
        assert sorted(result_of(message) for message in allowed) == [False, True]
        with pytest.raises(ResultMissing):
            actors.add.message(1, 1).get_result()

        actors.broker.join("default", timeout=PATIENCE_MS)
        assert workers.stop() == 0
    left = {f"{NAME}:default.XQ", f"{NAME}:default.XQ.msgs"}
    assert set(client.keys(f"{NAME}:default*")) == left


def test_what_a_killed_worker_held_another_does(client):
    with some_workers() as first:
        actors.survive.send()
        until(lambda: notes(client) == ["run"])
        first.kill()
    assert len(client.keys(f"{NAME}:__acks__.*.default")) == 1
    with some_workers(DRAMATIQ_HEARTBEAT_MS="1000"):
        until(lambda: notes(client) == ["run", "run"])
        until(lambda: not client.exists(f"{NAME}:default.msgs"))
