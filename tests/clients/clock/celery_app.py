"""Celery's side of test_clock.py."""

import celery
from celery.schedules import crontab
from clock import jobs

app = celery.Celery("clock", broker=jobs.URL, backend=jobs.URL)
app.conf.update(
    broker_connection_retry_on_startup=True,
    # A task that a worker holds for longer than this is given to another.
    broker_transport_options={"visibility_timeout": 30 * 86_400, "polling_interval": 0.1},
    task_acks_late=True,
    timezone="UTC",
    # Between two looks at its schedule beat sleeps in real time.
    beat_max_loop_interval=1,
    beat_schedule={"daily": {"task": "note", "schedule": crontab(hour=9, minute=0)}},
)

app.task(name="note")(jobs.note)
app.task(name="hold")(jobs.hold)


@app.task(name="shaky", bind=True, max_retries=3)
def shaky(self):
    jobs.note()
    raise self.retry(countdown=3_600 * 2**self.request.retries)
