"""arq's side of test_arq.py: the functions and the settings of its workers.

ARQ_NAME is what its keys have in their names.
"""

import asyncio
import os
import time

from arq import Retry, cron, func
from arq.connections import RedisSettings
from support import URL

NAME = os.environ["ARQ_NAME"]
SETTINGS = RedisSettings.from_dsn(URL)


async def note(cx, text):
    """What a function did, in order, where the test can read it."""
    return await cx["redis"].rpush(f"{NAME}-notes", text)


async def add(cx, x, y):
    return x + y


async def write_down(cx, text):
    await note(cx, text)


async def shaky(cx):
    await note(cx, time.time())
    if cx["job_try"] < 3:
        raise Retry(defer=0.2)
    return "at last"


async def fail(cx):
    raise ValueError("as asked")


async def survive(cx):
    """Never ends where it runs first."""
    if await note(cx, f"try {cx['job_try']}") == 1:
        await asyncio.sleep(60)
    return "survived"


async def every_second(cx):
    await note(cx, cx["job_id"])


class Worker:
    functions = [add, write_down, shaky, fail, func(survive, timeout=30)]
    queue_name = NAME
    redis_settings = SETTINGS
    poll_delay = 0.05
    keep_result = 60
    allow_abort_jobs = True
    health_check_interval = 1


class CronWorker:
    cron_jobs = [cron(every_second, second=set(range(60)))]
    queue_name = f"{NAME}-cron"
    redis_settings = SETTINGS
    poll_delay = 0.05
