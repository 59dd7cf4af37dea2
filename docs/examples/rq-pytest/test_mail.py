import subprocess
import sys

import pytest

from mail import welcome


@pytest.fixture
def work(toril, monkeypatch):
    """Runs a worker, a process as in production, until the queue is empty."""
    monkeypatch.setenv("REDIS_URL", toril.url)

    def run():
        worker = [sys.executable, "-m", "rq.cli", "worker", "--burst", "--url", toril.url, "mail"]
        subprocess.run(worker, check=True)

    return run


def test_a_letter_is_sent(work):
    job = welcome("ada@example.com")
    work()
    assert job.return_value(refresh=True) == "sent to ada@example.com"


def test_a_letter_without_an_address_fails_after_two_more_tries(work):
    job = welcome("nobody")
    work()
    job.refresh()
    assert job.is_failed
    assert job.retries_left == 0
    assert "nobody is no address" in job.latest_result().exc_string
