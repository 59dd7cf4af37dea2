"""The platforms: the binary's target, and the names that npm and PyPI have for them.

The release workflow builds each on a machine of its own. Windows is missing: the server has no port.
"""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass

from .project import Refused


@dataclass(frozen=True)
class Platform:
    #: As Node says it, `process.platform-process.arch`: `@toril/linux-x64`.
    name: str
    #: As Rust says it.
    target: str
    #: As pip says it. A static program asks for no libc, so that both kinds of Linux take it.
    wheel_tag: str

    @property
    def os(self) -> str:
        return self.name.split("-")[0]

    @property
    def cpu(self) -> str:
        return self.name.split("-")[1]

    @property
    def release(self) -> str:
        """The archive of a release, without its ending: `toril-x86_64-linux`."""
        system = {"linux": "linux", "darwin": "macos"}[self.os]
        return f"toril-{self.target.split('-')[0]}-{system}"


def _linux(cpu: str) -> str:
    return f"manylinux_2_17_{cpu}.manylinux2014_{cpu}.musllinux_1_1_{cpu}"


PLATFORMS = [
    Platform("linux-x64", "x86_64-unknown-linux-musl", _linux("x86_64")),
    Platform("linux-arm64", "aarch64-unknown-linux-musl", _linux("aarch64")),
    Platform("darwin-x64", "x86_64-apple-darwin", "macosx_10_12_x86_64"),
    Platform("darwin-arm64", "aarch64-apple-darwin", "macosx_11_0_arm64"),
]


def named(name: str) -> Platform:
    for it in PLATFORMS:
        if it.name == name:
            return it
    names = ", ".join(it.name for it in PLATFORMS)
    raise Refused(f"there is no platform {name}: there are {names}")


def own() -> Platform:
    """The platform of the machine that this runs on."""
    cpu = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}
    machine = platform.machine().lower()
    return named(f"{sys.platform}-{cpu.get(machine, machine)}")
