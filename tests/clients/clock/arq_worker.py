"""arq's side of test_arq_clock.py."""

import asyncio
import time

from arq import Retry, cron
from arq.connections import RedisSettings
from clock import jobs


async def note(cx):
    await cx["redis"].rpush("ran", time.time())


async def broken(cx):
    raise ValueError("as asked")


async def shaky(cx):
    await note(cx)
    raise Retry(defer=3_600 * 2 ** (cx["job_try"] - 1))


async def hold(cx):
    await note(cx)
    while not await cx["redis"].lpop("gate"):
        await asyncio.sleep(0.01)


class Worker:
    functions = [note, broken, shaky, hold]
    redis_settings = RedisSettings.from_dsn(jobs.URL)
    poll_delay = 0.1
    max_tries = 4
    health_check_interval = 1


class CronWorker:
    cron_jobs = [cron(note, hour=9, minute=0)]
    redis_settings = Worker.redis_settings
    poll_delay = Worker.poll_delay
    health_check_interval = Worker.health_check_interval
