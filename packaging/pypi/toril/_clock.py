"""`server.clock`: TORIL CLOCK, subcommand by subcommand."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Callable, ContextManager, Optional, Union

from ._connection import TorilError
from ._follow import following

#: Milliseconds, a text such as "90s" or "7d", or a timedelta.
Duration = Union[int, str, timedelta]
#: Milliseconds since 1970, ISO 8601 with a zone, or a datetime with one.
Moment = Union[int, str, datetime]


def duration(span: Duration) -> Union[int, str]:
    if isinstance(span, timedelta):
        return span // timedelta(milliseconds=1)
    return span


def moment(time: Moment) -> Union[int, str]:
    if not isinstance(time, datetime):
        return time
    if time.tzinfo is None:
        raise ValueError(f"toril: {time!r} has no zone: say which, as in datetime.now(timezone.utc)")
    return time.isoformat()


class Clock:
    """The server's time, which moves if the server was started with `clock=True`."""

    def __init__(self, run: Callable[..., Any], file: Callable[[], Optional[str]]) -> None:
        self._run = run
        self._file = file

    def read(self) -> Any:
        """Mode, time and offset, and who follows."""
        return self._run("TORIL", "CLOCK")

    def advance(
        self,
        span: Optional[Duration] = None,
        *,
        to: Optional[Moment] = None,
        jump: bool = False,
        timeout: Optional[int] = None,
        locks: bool = False,
    ) -> Any:
        """Goes ahead by a span, or to a moment, from due moment to due moment."""
        if (span is None) == (to is None):
            raise TypeError("toril: advance() takes a span or to=, and not both")
        words: list[object] = ["TO", moment(to)] if to is not None else [duration(span or 0)]
        if jump:
            words.append("JUMP")
        if timeout is not None:
            words += ["TIMEOUT", timeout]
        if locks:
            words.append("LOCKS")
        return self._run("TORIL", "CLOCK", "ADVANCE", *words)

    def follow(self, *, timers: bool = False) -> ContextManager[None]:
        """Has this process show the server's time in a `with` block, and its timers follow too if told to."""
        file = self._file()
        if file is None:
            raise TorilError("toril: this server's time does not move: start it with clock=True")
        return following(file, timers)

    def freeze(self, at: Optional[Moment] = None) -> Any:
        return self._run("TORIL", "CLOCK", "FREEZE", *(() if at is None else ("AT", moment(at))))

    def resume(self) -> Any:
        return self._run("TORIL", "CLOCK", "RESUME")

    def auto(self, until: Union[Duration, Moment, None] = None) -> Any:
        """Jumps to what is due next whenever nothing is left to do."""
        if until is None:
            return self._run("TORIL", "CLOCK", "AUTO")
        word = moment(until) if isinstance(until, datetime) else duration(until)
        return self._run("TORIL", "CLOCK", "AUTO", "UNTIL", word)

    def keep(self, *globs: str) -> Any:
        """Keys that do not age when time is moved."""
        return self._run("TORIL", "CLOCK", "KEEP", *globs)

    def reset(self) -> Any:
        return self._run("TORIL", "CLOCK", "RESET")
