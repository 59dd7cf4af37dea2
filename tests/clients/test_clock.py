"""TORIL CLOCK beside real workers, which are programs that follow through the clock file: what
waits for a time runs as if it had passed, and no job runs twice. RQ, rq-scheduler and Celery.
"""

import contextlib
import datetime
import time

import celery
import pytest
import redis
import rq
import rq_scheduler
from clock.lab import DAY_S, DAYS, HOUR_S, HOURS, SOON_S, WHILE_S, are_an_hour_apart
from clock.lab import check_across_the_jump, check_delayed, client, jump, minutes_since, preload
from clock.lab import seconds_until, server, times_of_day, toril, worker
from support import until

DAY = datetime.timedelta(days=1)
QUEUE = "mail"


@pytest.fixture
def bytes_client(server):
    """As RQ wants it: its jobs are not text."""
    with redis.Redis.from_url(server.url) as client:
        yield client


@pytest.fixture
def queue(bytes_client):
    return rq.Queue(QUEUE, connection=bytes_client)


@contextlib.contextmanager
def rq_worker(server, client):
    before = client.scard(f"rq:workers:{QUEUE}")
    arguments = ["--with-scheduler", "--quiet", "--url", server.url, QUEUE]
    with worker(server, "-m", "rq.cli", "worker", *arguments):
        until(lambda: client.scard(f"rq:workers:{QUEUE}") > before)
        until(lambda: client.exists(f"rq:scheduler-lock:{QUEUE}"))
        yield


def has_finished(job):
    return lambda: job.get_status(refresh=True) == rq.job.JobStatus.FINISHED


def test_rq_a_delayed_job(server, client, queue):
    with rq_worker(server, client):
        queue.enqueue_in(DAY, "clock.jobs.note")
        check_delayed(server, client, time.time())
        # What living processes renew in real time has not aged.
        [name] = client.smembers("rq:workers")
        assert client.exists(name)


def test_rq_a_worker_that_is_started_later(server, client, queue):
    queue.enqueue_in(DAY, "clock.jobs.note")
    start = time.time()
    jump(server, DAY_S + 1)
    with rq_worker(server, client):
        assert seconds_until(client, 1) < SOON_S
        assert minutes_since(client, start) == [24 * 60]


def test_rq_ids_are_free_again_when_results_have_gone(server, client, queue):
    once = {"job_id": "once", "unique": True, "result_ttl": HOUR_S}
    with rq_worker(server, client):
        until(has_finished(queue.enqueue("clock.jobs.note", **once)))
        with pytest.raises(rq.exceptions.DuplicateJobError):
            queue.enqueue("clock.jobs.note", **once)
        jump(server, HOUR_S + 1)
        queue.enqueue("clock.jobs.note", **once)
        assert seconds_until(client, 2) < SOON_S


def test_rq_a_job_that_is_active_across_the_jump(server, client, queue):
    with rq_worker(server, client), rq_worker(server, client):
        job = queue.enqueue("clock.jobs.hold")
        check_across_the_jump(server, client, has_finished(job))


def test_rq_step_by_step_retries(server, client, queue):
    with rq_worker(server, client):
        intervals = [hours * HOUR_S for hours in (1, 2, 4)]
        job = queue.enqueue("clock.jobs.fail", retry=rq.Retry(max=3, interval=intervals))
        start = time.time()
        server.clock.advance("1d")
        assert minutes_since(client, start) == [0, 60, 180, 420]
        assert job.get_status(refresh=True) == rq.job.JobStatus.FAILED


def test_rq_step_by_step_every_hour(server, client, queue):
    with rq_worker(server, client):
        queue.enqueue("clock.jobs.note", repeat=rq.Repeat(times=HOURS, interval=HOUR_S))
        server.clock.advance("2d")
        assert client.llen("ran") == 1 + HOURS and are_an_hour_apart(client)


def test_rq_a_job_that_does_not_end_in_time_is_named(server, client, queue):
    with rq_worker(server, client):
        job = queue.enqueue("clock.jobs.hold")
        seconds_until(client, 1)
        with pytest.raises(toril.TorilError) as refusal:
            server.clock.advance("7d", timeout=300)
        client.rpush("gate", "open")
        told = str(refusal.value)
        assert told.startswith("ERR not idle after 300 ms, at 20"), told
        assert f"{QUEUE}: job {job.id} (clock.jobs.hold()) active for " in told


@contextlib.contextmanager
def schedules(server, client):
    """rq-scheduler beside a worker of RQ."""
    address = ["--host", server.host, "--port", str(server.port), "--interval", "1"]
    arguments = ["-m", "rq_scheduler.scripts.rqscheduler", *address]
    with worker(server, *arguments), rq_worker(server, client):
        until(lambda: client.keys("rq:scheduler_instance:*"))
        with redis.Redis.from_url(server.url) as connection:
            yield rq_scheduler.Scheduler(QUEUE, connection=connection)


def test_rq_scheduler_a_delayed_job(server, client):
    with schedules(server, client) as scheduler:
        scheduler.enqueue_in(DAY, "clock.jobs.note")
        check_delayed(server, client, time.time())
        assert client.keys("rq:scheduler_instance:*")


def test_rq_scheduler_step_by_step_every_hour(server, client):
    with schedules(server, client) as scheduler:
        now = datetime.datetime.now(datetime.timezone.utc)
        scheduler.schedule(now, "clock.jobs.note", interval=HOUR_S, repeat=1 + HOURS)
        server.clock.advance("2d")
        assert client.llen("ran") == 1 + HOURS and are_an_hour_apart(client)


@pytest.mark.filterwarnings("ignore:Version 0.22")
def test_rq_scheduler_step_by_step_a_pattern_of_cron(server, client):
    with schedules(server, client) as scheduler:
        scheduler.cron("0 9 * * *", "clock.jobs.note", queue_name=QUEUE)
        server.clock.advance(DAYS * DAY)
        assert times_of_day(client) == ["09:00"] * DAYS


@contextlib.contextmanager
def celery_worker(server, *arguments):
    program = ["-m", "celery", "--app=clock.celery_app", "--quiet", "worker", "--pool=solo"]
    options = ["--loglevel=CRITICAL", "--without-gossip", "--without-mingle", *arguments]
    with worker(server, *program, *options):
        app = celery.Celery(broker=server.url, backend=server.url, set_as_current=False)
        until(app.control.inspect(timeout=0.2).ping)
        yield app


def test_celery_a_countdown(server, client):
    with celery_worker(server) as app:
        app.send_task("note", countdown=DAY_S)
        until(lambda: client.hlen("unacked") == 1)
        check_delayed(server, client, time.time())


def test_celery_a_worker_that_is_started_later(server, client):
    app = celery.Celery(broker=server.url, set_as_current=False)
    app.send_task("note", countdown=DAY_S)
    start = time.time()
    jump(server, DAY_S + 1)
    with celery_worker(server):
        assert seconds_until(client, 1) < SOON_S
        assert minutes_since(client, start) == [24 * 60]


def test_celery_a_task_that_is_active_across_the_jump(server, client):
    with celery_worker(server) as app:
        result = app.send_task("hold")
        check_across_the_jump(server, client, result.ready)


def test_celery_step_by_step_retries(server, client):
    with celery_worker(server) as app:
        app.send_task("shaky")
        start = time.time()
        server.clock.advance("1d")
        assert minutes_since(client, start) == [0, 60, 180, 420]


def test_celery_a_pattern_of_cron(server, client, tmp_path):
    """Beat tells nobody when it is due next, so that each day is a jump of its own."""
    with celery_worker(server, "--beat", f"--schedule={tmp_path}/beat"):
        for days in range(1, 1 + DAYS):
            jump(server, DAY_S)
            assert seconds_until(client, days) < SOON_S
        time.sleep(WHILE_S)
        assert client.llen("ran") == DAYS
