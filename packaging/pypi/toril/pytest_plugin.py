"""Fixtures for pytest, found by the entry point `pytest11`.

    toril          a server of its own for each test
    toril_url      its URL
    toril_session  one server for all tests of the run, emptied before each of them
    toril_aio      the methods of `toril`, to be awaited

`--toril-args` adds to the command line of each server. `toril_scope = session` in pytest's settings
makes `toril` the shared server. `@pytest.mark.toril(http=True)` starts the test's own server with
these arguments of `toril.Server`.
"""

from __future__ import annotations

import shlex
from typing import Iterator

import pytest

from . import Aio, Server

SCOPES = ("function", "session")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("toril")
    group.addoption("--toril-args", default="", help="more options for each toril that is started")
    parser.addini("toril_scope", "function: a server for each test; session: one for all", default="function")


def pytest_configure(config: pytest.Config) -> None:
    line = "toril(*args, **options): starts the test's server with these arguments of toril.Server"
    config.addinivalue_line("markers", line)
    scope = config.getini("toril_scope")
    if scope not in SCOPES:
        raise pytest.UsageError(f"toril_scope is {scope!r}: it can be {' or '.join(SCOPES)}")


def _args(config: pytest.Config) -> list[str]:
    return shlex.split(config.getoption("--toril-args"))


@pytest.fixture(scope="session")
def _toril_shared(pytestconfig: pytest.Config) -> Iterator[Server]:
    with Server(*_args(pytestconfig)) as server:
        yield server


@pytest.fixture
def toril_session(_toril_shared: Server) -> Server:
    """One server for all tests of the run, emptied before each of them."""
    _toril_shared.flush()
    return _toril_shared


@pytest.fixture
def toril(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of its own for each test."""
    marker = request.node.get_closest_marker("toril")
    if marker is None and request.config.getini("toril_scope") == "session":
        yield request.getfixturevalue("toril_session")
        return
    args, options = (marker.args, marker.kwargs) if marker else ((), {})
    with Server(*_args(request.config), *args, **options) as server:
        yield server


@pytest.fixture
def toril_url(toril: Server) -> str:
    """The URL of the server of this test."""
    return toril.url


@pytest.fixture
def toril_aio(toril: Server) -> Aio:
    """The methods of the server of this test, for asyncio."""
    return toril.aio
