"""Connections to the server for what the fixture says to it, opened at the first use.

They speak RESP3, so that maps arrive as dictionaries. Their name is `toril`: faults never hit them,
and a test can always end one.
"""

from __future__ import annotations

import socket
from typing import Any, BinaryIO, Callable


class TorilError(Exception):
    """What the server refused, in its words."""


class Connections:
    """As many connections as threads ask at the same time: one waits while another looks."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._free: list[_Connection] = []

    def run(self, words: tuple[object, ...]) -> Any:
        """Runs one command and returns its reply."""
        try:
            connection = self._free.pop()
        except IndexError:
            connection = _Connection(self._address)
        try:
            reply = connection.ask(words)
        except BaseException:
            # What is left of the answer must not be taken for that of another command.
            connection.close()
            raise
        self._free.append(connection)
        if isinstance(reply, TorilError):
            raise reply
        return reply

    def close(self) -> None:
        while self._free:
            self._free.pop().close()


class _Connection:
    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream: BinaryIO = self._socket.makefile("rb")
        self.ask(("HELLO", 3, "SETNAME", "toril"))

    def ask(self, words: tuple[object, ...]) -> Any:
        request = [b"*%d\r\n" % len(words)]
        for word in words:
            text = word if isinstance(word, bytes) else str(word).encode()
            request.append(b"$%d\r\n%b\r\n" % (len(text), text))
        self._socket.sendall(b"".join(request))
        return read_reply(self._stream)

    def close(self) -> None:
        self._stream.close()
        self._socket.close()


#: How the rest of a line becomes a value.
_LINES: dict[bytes, Callable[[bytes], Any]] = {
    b"+": bytes.decode,
    b"-": lambda text: TorilError(text.decode()),
    b":": int,
    b",": float,
    b"(": int,
    b"#": lambda text: text == b"t",
    b"_": lambda text: None,
}


def read_reply(stream: BinaryIO) -> Any:
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionError("toril: the server closed the connection")
    kind, rest = line[:1], line[1:-2]
    if kind in _LINES:
        return _LINES[kind](rest)
    length = int(rest)
    if length < 0:
        return None
    if kind in b"*~>":
        return [read_reply(stream) for _ in range(length)]
    if kind == b"%":
        return {read_reply(stream): read_reply(stream) for _ in range(length)}
    text = stream.read(length + 2)[:-2].decode(errors="surrogateescape")
    if kind == b"!":
        return TorilError(text)
    return text[4:] if kind == b"=" else text
