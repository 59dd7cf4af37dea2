"""`toril exec --clock`: a command and its worker, neither of which knows toril's package."""

import os
import subprocess
import sys

import pytest

TORIL = os.path.join(os.path.dirname(sys.executable), "toril")

SCRIPT = """
import datetime, os, signal, subprocess, sys, time
from redis import Redis
from rq import Queue
from jobs import double

url = os.environ["REDIS_URL"]
redis = Redis.from_url(url)
queue = Queue("mail", connection=redis)
arguments = ["worker", "--with-scheduler", "--quiet", "--url", url, "mail"]
worker = subprocess.Popen([sys.executable, "-m", "rq.cli", *arguments], start_new_session=True)
try:
    while not redis.exists("rq:scheduler-lock:mail"):
        time.sleep(0.01)
    begun = time.time()
    job = queue.enqueue_in(datetime.timedelta(days=1), double, 21, result_ttl=-1)
    redis.execute_command("TORIL", "CLOCK", "ADVANCE", "2d")
    job.refresh()
    print(job.return_value(), round((job.ended_at.timestamp() - begun) / 3600))
    print(round((time.time() - begun) / 3600))
finally:
    # RQ does not hear of a polite end between a job and the next look for one: it waits then for
    # minutes, with its scheduler, a process of its own.
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="workers follow by a library for Linux")
def test_a_job_that_is_delayed_by_a_day_runs_when_the_command_moves_the_time():
    told = subprocess.run(
        [TORIL, "exec", "--clock", "--", sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.split() == ["42", "24", "48"]
