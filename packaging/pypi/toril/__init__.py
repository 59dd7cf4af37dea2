"""A server for tests, which queues run on as they do on Redis.

    with Server() as server:
        redis = Redis.from_url(server.url)
"""

from ._clock import Clock
from ._connection import TorilError
from ._server import Aio, Server

__all__ = ["Aio", "Clock", "Server", "TorilError"]
