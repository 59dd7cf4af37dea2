"""A running server: where it is, how it ends, and what a test says to it."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import subprocess
import threading
import time
from collections import deque
from typing import Any, Awaitable, Callable, Iterable, Optional, Union

from ._binary import find_binary
from ._clock import Clock, Duration, Moment, duration, moment
from ._connection import Connections, TorilError
from ._follow import find_library

#: What every server of a test is told: to lose no first event, and to keep what is looked back on.
BASE = ["--port", "0", "--announce", "json", "--keep-dollar", "yes", "--fixture", "yes"]
BASE += ["--load", "no"]

#: How long a server may take to end after SIGTERM before it gets SIGKILL.
STOP_SECONDS_MAX = 2.0

#: How long `flush` waits for jobs that are active.
ACTIVE_SECONDS_MAX = 1.0
LOOK_EVERY_SECONDS = 0.01

#: As many lines of its log are kept, to be shown if it ends by itself.
LOG_LINES_MAX = 200

#: Keys that hold the jobs that workers are at: the pattern, the type, and how to see the first one.
ACTIVE = [
    ("*:active", "list", ("LRANGE", -1, -1)),  # BullMQ, Bull, bee-queue
    ("rq:wip:*", "zset", ("ZRANGE", 0, 0)),  # RQ
]


class Server:
    """A server of its own on a free port of 127.0.0.1. It ends with this process."""

    def __init__(
        self,
        *args: str,
        clock: bool = False,
        http: bool = False,
        strict: Union[str, bool, None] = None,
        provider: Optional[str] = None,
    ) -> None:
        self._args = [str(arg) for arg in args]
        if clock:
            self._args += ["--clock", "yes"]
        if http:
            self._args += ["--http-port", "0"]
        if strict:
            self._args += ["--strict", "yes" if strict is True else strict]
        if provider:
            self._args += ["--provider", provider]
        self._process: Optional[subprocess.Popen[str]] = None
        self._announced: Optional[dict[str, Any]] = None
        self._connections: Optional[Connections] = None
        #: The last lines of its log.
        self.log: deque[str] = deque(maxlen=LOG_LINES_MAX)
        self.clock = Clock(self.command, lambda: self._known()["clock"])

    def start(self) -> Server:
        if self._process is not None:
            raise TorilError("toril: this server has been started already")
        self._process = subprocess.Popen(
            [find_binary(), *BASE, "--exit-with-parent", str(os.getpid()), *self._args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            # A Ctrl-C in the terminal is for the tests, which stop the server when they are done.
            start_new_session=True,
        )
        self._announced = self._await_announced()
        self._connections = Connections(self.host, self.port)
        # What it logs is read, so that the pipe never fills.
        threading.Thread(target=self._keep_log, daemon=True, name="toril log").start()
        return self

    def stop(self) -> None:
        """Ends the server; may be called again. Raises if it has ended by itself."""
        process, self._process = self._process, None
        if process is None:
            return
        if self._connections is not None:
            self._connections.close()
        self._announced = self._connections = None
        process.terminate()
        try:
            status = process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return
        if status != 0:
            said = "\n".join(self.log)
            raise TorilError(f"toril ended with status {status} while it was in use: {said}")

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Server:
        return await asyncio.to_thread(self.start)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)

    @property
    def url(self) -> str:
        return str(self._known()["url"])

    @property
    def host(self) -> str:
        return str(self._known()["host"])

    @property
    def port(self) -> int:
        return int(self._known()["port"])

    @property
    def pid(self) -> int:
        return int(self._known()["pid"])

    @property
    def http(self) -> Optional[dict[str, str]]:
        """`url` and `token` of the REST API; None if the server was started without `http=True`."""
        return self._known()["http"]

    @property
    def env(self) -> dict[str, str]:
        """The variables that `toril exec` sets, for the environment of a child."""
        known = self._known()
        env = {
            "REDIS_URL": self.url,
            "REDIS_HOST": self.host,
            "REDIS_PORT": str(self.port),
            "TORIL_URL": self.url,
        }
        if known["http"]:
            env["UPSTASH_REDIS_REST_URL"] = known["http"]["url"]
            env["UPSTASH_REDIS_REST_TOKEN"] = known["http"]["token"]
        return env | followers(known["clock"]) if known["clock"] else env

    @property
    def aio(self) -> Aio:
        """The same methods for asyncio: `await server.aio.idle()`."""
        return Aio(self)

    def command(self, *words: object) -> Any:
        """Runs any command of Redis or of toril and returns its reply."""
        if self._connections is None:
            raise TorilError("toril: this server is not running: use 'with Server() as server'")
        return self._connections.run(words)

    def idle(
        self,
        *queues: str,
        timeout: Optional[int] = None,
        horizon: Optional[Duration] = None,
        allow_failed: bool = False,
    ) -> Any:
        """Waits until these queues, or all, have nothing to do; raises if they have, or if jobs failed."""
        words: list[object] = ["TORIL", "WAIT", "IDLE", *queues]
        if timeout is not None:
            words += ["TIMEOUT", timeout]
        if horizon is not None:
            words += ["HORIZON", duration(horizon)]
        answer = self.command(*words)
        if answer["idle"] != 1:
            raise TorilError(answer["why"])
        failed = sum(counts["failed"] for counts in answer["queues"].values())
        if failed and not allow_failed:
            raise TorilError("\n".join([f"jobs have failed: {failed}", *answer.get("failures", [])]))
        return answer

    def expect(
        self,
        queue: str,
        *,
        name: Optional[str] = None,
        data: Any = None,
        state: Optional[str] = None,
        count: Optional[int] = None,
        within: Optional[int] = None,
        by: Optional[Moment] = None,
        never: bool = False,
    ) -> Any:
        """Expects a job, now or within some milliseconds; raises with what came nearest."""
        told = {
            "NAME": name,
            "DATA": None if data is None else json.dumps(data),
            "STATE": state,
            "COUNT": count,
            "WITHIN": within,
            "BY": None if by is None else moment(by),
        }
        words: list[object] = ["TORIL", "EXPECT", "QUEUE", queue]
        for word, value in told.items():
            if value is not None:
                words += [word, value]
        answer = self.command(*words, *(["NEVER"] if never else []))
        if answer["met"] != 1:
            raise TorilError(answer["why"])
        return answer

    def fault(self, rule: str = "", **words: Union[str, int, Iterable[str]]) -> str:
        """Adds a fault and returns its name: fault("oom", count=1), fault("reset evalsha")."""
        return str(self.command("TORIL", "FAULT", "ADD", *fault_words(rule, words)))

    def flush(self) -> None:
        """Ends all faults, and empties all databases once no job is active any more."""
        self.command("TORIL", "FAULT", "CLEAR")
        deadline = time.monotonic() + ACTIVE_SECONDS_MAX
        while (active := self._active_job()) is not None:
            if time.monotonic() > deadline:
                job, queue = active
                raise TorilError(
                    f"job {job} of {queue} is active for {ACTIVE_SECONDS_MAX} s: "
                    "close the worker, or await it, before flush()"
                )
            time.sleep(LOOK_EVERY_SECONDS)
        self.command("FLUSHALL")

    def snapshot(self, name: Optional[str] = None) -> Any:
        """Keeps the data as it is now, under a name."""
        return self.command("TORIL", "SNAPSHOT", *([] if name is None else [name]))

    def restore(self, name: Optional[str] = None) -> Any:
        """Sets the data to what it was at a snapshot."""
        return self.command("TORIL", "RESTORE", *([] if name is None else [name]))

    def _known(self) -> dict[str, Any]:
        if self._announced is None:
            raise TorilError("toril: this server is not running: use 'with Server() as server'")
        return self._announced

    def _await_announced(self) -> dict[str, Any]:
        assert self._process is not None and self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith('{"toril":'):
                return dict(json.loads(line))
            self.log.append(line.rstrip())
        status = self._process.wait()
        self._process = None
        said = "\n".join(self.log)
        raise TorilError(f"toril ended with status {status} before it was ready: {said}")

    def _keep_log(self) -> None:
        process = self._process
        if process is not None and process.stdout is not None:
            with process.stdout as lines:
                self.log.extend(line.rstrip() for line in lines)

    def _active_job(self) -> Optional[tuple[str, str]]:
        """Some job that a worker is at, and its queue."""
        for pattern, kind, (verb, first, last) in ACTIVE:
            cursor = "0"
            while True:
                words = ("SCAN", cursor, "MATCH", pattern, "COUNT", 1000, "TYPE", kind)
                cursor, keys = self.command(*words)
                for key in keys:
                    if jobs := self.command(verb, key, first, last):
                        parts = key.split(":")
                        return jobs[0], parts[-2] if parts[-1] == "active" else parts[-1]
                if cursor == "0":
                    break
        return None


class Aio:
    """Methods of a server, or of its clock, each run in a thread and awaited.

    A method that waits for a worker must not hold the loop on which the worker runs.
    """

    def __init__(self, of: Union[Server, Clock]) -> None:
        self._of = of

    @property
    def clock(self) -> Aio:
        return Aio(self._of.clock if isinstance(self._of, Server) else self._of)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._of, name)

        async def call(*args: Any, **named: Any) -> Any:
            return await asyncio.to_thread(method, *args, **named)

        return call


def followers(clock: str) -> dict[str, str]:
    """What has a child follow the clock: Node by an import, others on Linux by a library."""

    def behind(name: str, between: str, value: str) -> str:
        return between.join(filter(None, [os.environ.get(name), value]))

    node = behind("NODE_OPTIONS", " ", "--import=toril/clock")
    env = {"TORIL_CLOCK": clock, "NODE_OPTIONS": node}
    library = find_library()
    if library.exists():
        env["LD_PRELOAD"] = behind("LD_PRELOAD", ":", str(library))
    return env


def fault_words(rule: str, named: dict[str, Any]) -> list[str]:
    """The words key=value of a rule. Those without a key are the action, then the command."""
    keys = ["action", "cmd"]
    words = []
    for word in shlex.split(rule):
        if "=" not in word:
            if not keys:
                raise TorilError(f"toril: '{word}' in the fault '{rule}' has no key, such as cmd={word}")
            word = f"{keys.pop(0)}={word}"
        words.append(word)
    for name, value in named.items():
        text = ",".join(value) if isinstance(value, (list, tuple, set)) else str(value)
        # `for` is a word of Python: for_="conn".
        words.append(f"{name.rstrip('_')}={text}")
    return words
