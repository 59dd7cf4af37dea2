"""The library that lets programs in any language follow the server's clock.

It lies beside the binary, where `toril exec --clock` looks for it. It belongs to programs that use
glibc, as those of most Linux distributions do; the others have no use for it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from .binary import run, say
from .platforms import Platform
from .project import CACHE, PACKAGING

SOURCE = PACKAGING / "preload/clock.c"
NAME = "libtoril_clock.so"

#: Older than what any supported distribution has.
GLIBC = "2.17"


def build(platform: Platform, into: Path) -> dict[str, bytes]:
    """The library by its name; nothing where there is no compiler for it."""
    if platform.os != "linux" or not SOURCE.exists():
        return {}
    compiler = zig(platform)
    if compiler is None and shutil.which("cc"):
        say("there is no zig here: the clock's library is for this machine's glibc or newer")
        compiler = ["cc"]
    if compiler is None:
        say("there is no C compiler: the packages have no library for 'toril exec --clock'")
        return {}
    library = into / NAME
    # Symbolic: what it says of its own functions means them, also where libc's were found before.
    flags = ["-shared", "-fPIC", "-O2", "-s", "-Wl,-Bsymbolic", "-o", str(library)]
    run([*compiler, *flags, str(SOURCE), "-ldl", "-lpthread"])
    return {NAME: library.read_bytes()}


def zig(platform: Platform) -> list[str] | None:
    target = ["cc", "-target", f"{platform.target.split('-')[0]}-linux-gnu.{GLIBC}"]
    if shutil.which("zig"):
        return ["zig", *target]
    python = CACHE / "zig/bin/python"
    return [str(python), "-m", "ziglang", *target] if python.exists() else None
