"""channels_redis, behind which Django's consumers talk: both layers, two programs on each."""

import asyncio
import uuid

import channels.exceptions
import pytest
import redis
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from support import HOST, PATIENCE_S, PORT, name, until

HOSTS = [(HOST, PORT)]


def two_layers(of, name, **options):
    """They are to each other what two server processes are."""
    return [of(hosts=HOSTS, prefix=name, **options) for _ in range(2)]


def run(scenario, *layers):
    async def to_its_end():
        async with asyncio.timeout(PATIENCE_S):
            await scenario(*layers)
        for layer in layers:
            await (layer.close_pools() if hasattr(layer, "close_pools") else layer.flush())

    asyncio.run(to_its_end())


async def hears_nothing(layer, channel):
    with pytest.raises(asyncio.TimeoutError):
        async with asyncio.timeout(0.1):
            await layer.receive(channel)


@pytest.mark.parametrize("of", [RedisChannelLayer, RedisPubSubChannelLayer])
def test_channels_and_groups(of, name):
    async def scenario(one, other):
        # To the one consumer whose channel it is, wherever it runs, and in order.
        mine, yours = await one.new_channel(), await other.new_channel()
        for number in range(20):
            await one.send(yours, {"type": "hello", "number": number})
        heard = [await other.receive(yours) for _ in range(20)]
        assert heard == [{"type": "hello", "number": number} for number in range(20)]

        # To all of a group, of which both programs have some.
        third = await other.new_channel()
        for layer, channel in [(one, mine), (other, yours), (other, third)]:
            await layer.group_add("room", channel)
        message = {"type": "chat", "text": "to all", "bytes": b"\x00\xff"}
        await other.group_send("room", message)
        for layer, channel in [(one, mine), (other, yours), (other, third)]:
            assert await layer.receive(channel) == message

        await other.group_discard("room", third)
        await one.group_send("room", {"type": "chat", "text": "to two"})
        assert (await one.receive(mine))["text"] == (await other.receive(yours))["text"] == "to two"
        await hears_nothing(other, third)

    run(scenario, *two_layers(of, name))


def test_a_consumer_waits_for_what_comes(name):
    async def scenario(one, other):
        channel = await one.new_channel()
        waiting = asyncio.create_task(one.receive(channel))
        await asyncio.sleep(0.1)
        await other.send(channel, {"type": "late"})
        assert await waiting == {"type": "late"}

        # Workers share a channel of a fixed name: each message is for one of them. Both wait before
        # there is one, for whoever comes puts back what another has just taken.
        workers = [asyncio.create_task(layer.receive("thumbnails")) for layer in (one, other)]
        await asyncio.sleep(0.2)
        for number in range(2):
            await one.send("thumbnails", {"type": "make", "number": number})
        assert sorted([(await worker)["number"] for worker in workers]) == [0, 1]

    run(scenario, *two_layers(RedisChannelLayer, name))


def test_channels_fill_and_messages_and_groups_expire(name):
    async def scenario(one, other):
        for number in range(3):
            await one.send("small", {"type": "hello", "number": number})
        with pytest.raises(channels.exceptions.ChannelFull):
            await other.send("small", {"type": "hello"})
        await one.group_add("room", "small")
        await other.group_send("room", {"type": "dropped, since it does not fit"})
        for number in range(3):
            assert (await other.receive("small"))["number"] == number
        await hears_nothing(other, "small")

        await one.group_send("room", {"type": "nobody reads it in time"})
        with redis.Redis(HOST, PORT) as client:
            assert client.zcard(f"{name}small") == 1
            until(lambda: not client.exists(f"{name}small", f"{name}:group:room"))
        await one.group_send("room", {"type": "nobody is left"})
        await hears_nothing(other, "small")

        await other.send("small", {"type": "fits again"})
        assert await one.receive("small") == {"type": "fits again"}

    run(scenario, *two_layers(RedisChannelLayer, name, capacity=3, expiry=2, group_expiry=2))
