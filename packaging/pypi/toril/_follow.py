"""This process under the server's clock: what a child gets by LD_PRELOAD, from within.

The clock's library puts itself between Python and libc: `time`, `datetime` and all that asks them
show the server's time, in every thread, and in children that are forked.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Optional

from ._binary import find_binary
from ._connection import TorilError

NAME = "libtoril_clock.so"

#: The clock file that this process follows.
_followed: Optional[str] = None


def find_library() -> Path:
    """Beside the binary, unless TORIL_PRELOAD names it. It need not be there."""
    return Path(os.environ.get("TORIL_PRELOAD", Path(find_binary()).with_name(NAME)))


@contextmanager
def following(path: str, timers: bool) -> Iterator[None]:
    global _followed
    if _followed is not None:
        raise TorilError("toril: this process follows a clock already: leave that block first")
    follow = _library().toril_clock_follow
    if status := follow(os.fsencode(path), int(timers)):
        raise OSError(status, f"toril: this process cannot follow: {os.strerror(status)}", path)
    _followed = path
    try:
        yield
    finally:
        _followed = None
        follow(None, 0)


def _library() -> ctypes.CDLL:
    library = find_library()
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise TorilError(
            f"toril: this process cannot follow without {library}, which is for Linux with glibc "
            f"({error}). Run the worker as a program there, or move the time by time-machine"
        ) from None
