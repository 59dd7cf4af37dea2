"""What the tests in Python share: where the server is, and how to wait for what it does.

TORIL_HOST and TORIL_PORT name the server.
"""

import os
import time
import uuid

import pytest

HOST = os.environ.get("TORIL_HOST", "127.0.0.1")
PORT = int(os.environ.get("TORIL_PORT", "6379"))
PATIENCE_S = 20


@pytest.fixture
def name():
    return f"queue-{uuid.uuid4()}"


def until(question):
    deadline = time.monotonic() + PATIENCE_S
    while not (answer := question()):
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.005)
    return answer
