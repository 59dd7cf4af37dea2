"""taskiq with RedisStreamBroker: tasks lie in a stream that the workers read as a consumer group."""

import asyncio
import contextlib

import redis
from support import HOST, PATIENCE_S, PORT, URL, name, until
from taskiq.api import run_receiver_task
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker


def broker_of(name, **options):
    broker = RedisStreamBroker(URL, queue_name=name, xread_block=100, **options)
    return broker.with_result_backend(RedisAsyncResultBackend(URL, prefix_str=name))


@contextlib.asynccontextmanager
async def working(*brokers):
    """Each broker with a worker of its own."""
    workers = []
    for broker in brokers:
        await broker.startup()
        workers.append(asyncio.create_task(run_receiver_task(broker)))
    yield
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    for broker in brokers:
        await broker.shutdown()


def pending(name):
    with redis.Redis(HOST, PORT) as client:
        return client.xpending(name, "taskiq")["pending"]


def test_tasks_are_done_once_and_acknowledged(name):
    done = []

    def a_worker():
        broker = broker_of(name)

        @broker.task(task_name="double")
        async def double(number):
            done.append(number)
            return 2 * number

        return broker, double

    async def run():
        (first, double), (second, _) = a_worker(), a_worker()
        async with working(first, second):
            tasks = [await double.kiq(number) for number in range(100)]
            results = [await task.wait_result(timeout=PATIENCE_S) for task in tasks]
        assert [result.return_value for result in results] == [2 * n for n in range(100)]

    asyncio.run(run())
    assert sorted(done) == list(range(100))
    until(lambda: pending(name) == 0)
    with redis.Redis(HOST, PORT, decode_responses=True) as client:
        assert client.xlen(name) == 100
        [group] = client.xinfo_groups(name)
        assert (group["name"], group["lag"], group["entries-read"]) == ("taskiq", 0, 100)
        assert group["consumers"] == 2


def test_a_task_that_fails_says_so(name):
    broker = broker_of(name, maxlen=10, approximate=False)

    @broker.task(task_name="fail")
    async def fail():
        raise ValueError("as asked")

    async def run():
        async with working(broker):
            result = await (await fail.kiq()).wait_result(timeout=PATIENCE_S)
            assert result.is_err
            assert str(result.error) == "as asked"

    asyncio.run(run())
    until(lambda: pending(name) == 0)


def test_what_a_dead_worker_left_another_takes_over(name):
    broker = broker_of(name, idle_timeout=200, consumer_id="0")

    @broker.task(task_name="add")
    async def add(x, y):
        return x + y

    async def run():
        task = await add.kiq(1, 2)
        with redis.Redis(HOST, PORT) as client:
            client.xgroup_create(name, "taskiq", id="0")
            [[_, [[entry, _]]]] = client.xreadgroup("taskiq", "dead", {name: ">"})
            assert pending(name) == 1
            await asyncio.sleep(0.3)
            async with working(broker):
                # taskiq looks for what is left over once it was given something.
                other = await add.kiq(3, 4)
                results = [await it.wait_result(timeout=PATIENCE_S) for it in (other, task)]
                assert [result.return_value for result in results] == [7, 3]
            until(lambda: pending(name) == 0)
            assert client.xack(name, "taskiq", entry) == 0

    asyncio.run(run())
