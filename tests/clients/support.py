"""What the tests in Python share: where the server is, and how to wait for what it does.

TORIL_HOST and TORIL_PORT name the server.
"""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time
import uuid

import pytest
import redis

HOST = os.environ.get("TORIL_HOST", "127.0.0.1")
PORT = int(os.environ.get("TORIL_PORT", "6379"))
URL = f"redis://{HOST}:{PORT}/0"
PATIENCE_S = 20


@pytest.fixture
def name():
    return f"queue-{uuid.uuid4()}"


def notebook(key):
    """A fixture of a client, behind which the list `key` is removed, and what is noted there."""

    @pytest.fixture
    def client():
        with redis.Redis.from_url(URL, decode_responses=True) as client:
            yield client
            client.delete(key)

    def notes(client):
        return client.lrange(key, 0, -1)

    return client, notes


def until(question):
    deadline = time.monotonic() + PATIENCE_S
    while not (answer := question()):
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.005)
    return answer


class Worker:
    """A program of workers beside the test, with all processes that it starts."""

    def __init__(self, arguments, **environment):
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=pathlib.Path(__file__).parent,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
            start_new_session=True,
        )

    def kill(self):
        """Without a word to anybody, as a machine that loses its power."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """As a person would. Answers the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


@contextlib.contextmanager
def working(*arguments, **environment):
    """`python arguments` runs until the end of the block, if the block does not end it before."""
    worker = Worker(arguments, **environment)
    try:
        yield worker
        if worker.process.poll() is None:
            worker.stop()
    finally:
        worker.kill()
