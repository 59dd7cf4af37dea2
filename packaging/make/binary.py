"""The binary: one static program for each CPU of Linux, with the C library musl inside.

cargo-zigbuild compiles, since the C parts (Lua, mimalloc, zstd) want a C compiler for musl, which zig
is. Rust's standard library for musl comes from rustup where rustup has put it. Else Debian has a
compiler whose source package holds the standard library and all that it is made of, so that cargo
builds it along with the rest.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from .platforms import Platform, own
from .project import CACHE, ROOT, Refused

#: Pinned, so that two builds of one commit are equal.
ZIG = ["cargo-zigbuild==0.24.1", "ziglang==0.17.1"]

#: A compiler for browsers, kept current in a stable Debian, and what it needs.
DEBIAN = ["rustc-web", "libstd-rust-web-dev", "rust-web-src"]

#: For the page, files, replicas and TLS; the fixture alone was to have 5 MB (docs/decisions.md).
BINARY_BYTES_MAX = 8_000_000

#: zstd compresses at its fastest level alone (src/util/zstd.rs), whose block compressor is the one
#: called fast: the others are left out.
ZSTD_WITHOUT = ["DFAST", "GREEDY", "LAZY", "LAZY2", "BTLAZY2", "BTOPT", "BTULTRA"]

#: Texts of up to 64 KB are restored as well without what zstd has for large ones, and without its
#: second copies for CPUs with BMI2; its errors are never shown.
ZSTD_SMALL = [
    "DYNAMIC_BMI2=0",
    "HUF_FORCE_DECOMPRESS_X1",
    "ZSTD_FORCE_DECOMPRESS_SEQUENCES_SHORT",
    "ZSTD_STRIP_ERROR_STRINGS",
]

#: Calls are inlined up to this cost, and not up to LLVM's own 250. What every request and job passes
#: is marked `#[inline]` where that paid, for which LLVM's threshold stays (docs/decisions.md).
INLINE_COST_MAX = 50

#: In the header of an ELF file's segment: this one names the loader of shared libraries.
PT_INTERP = 3


def build(platform: Platform, glibc: bool) -> Path:
    """Compiles the binary of this machine, stripped."""
    if platform.os != "linux":
        target = ["--target", platform.target]
        return cargo(["build", *target], Path(platform.target) / "release", platform, {})
    if glibc:
        return cargo(["build"], Path("release"), platform, {})
    if platform.cpu != own().cpu and not has_std(platform.target):
        raise Refused(
            f"{platform.name} cannot be built here: run 'rustup target add {platform.target}' first"
        )
    say(f"building the static binary for {platform.name}; this takes some minutes")
    environment = zig_environment()
    command = ["zigbuild", "--target", platform.target]
    defined = [f"ZSTD_EXCLUDE_{name}_BLOCK_COMPRESSOR" for name in ZSTD_WITHOUT] + ZSTD_SMALL
    environment["CFLAGS"] = " ".join(f"-D{name}" for name in defined)
    # It lies where the linker put it: what would have to be put right at each start is 200 KB.
    flags = f"-C relocation-model=static -C llvm-args=-inline-threshold={INLINE_COST_MAX} "
    if not has_std(platform.target):
        environment |= debian_environment()
        # Without what finds names for backtraces, since a stripped program has none, and with the
        # smaller of two ways to sort and to print numbers.
        features = "panic-unwind,optimize_for_size"
        command += ["-Zbuild-std=std,panic_unwind", f"-Zbuild-std-features={features}"]
        # rustc would look for start files of its own, which that package has not; zig has them.
        flags += "-C link-self-contained=no "
    environment["RUSTFLAGS"] = flags + remapped()
    binary = cargo(command, Path(platform.target) / "release", platform, environment)
    check_static(binary)
    return binary


def cargo(command: list[str], folder: Path, platform: Platform, environment: dict[str, str]) -> Path:
    target = CACHE / "target"
    full = ["cargo", *command, "--release", "--locked", "--bin", "toril"]
    settings = {
        "CARGO_TARGET_DIR": str(target),
        "CARGO_PROFILE_RELEASE_STRIP": "symbols",
        "CARGO_PROFILE_RELEASE_DEBUG": "0",
    }
    run(full, {**os.environ, "RUSTFLAGS": remapped(), **settings, **environment}, ROOT)
    return target / folder / "toril"


def remapped() -> str:
    """Paths of this machine are no part of the program."""
    home = os.environ.get("CARGO_HOME", str(Path.home() / ".cargo"))
    return f"--remap-path-prefix={ROOT}=toril --remap-path-prefix={home}=cargo"


def has_std(target: str) -> bool:
    try:
        told = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, cwd=ROOT)
    except OSError:
        raise Refused("rustc is missing: install Rust from https://rustup.rs") from None
    return (Path(told.stdout.strip()) / "lib/rustlib" / target / "lib").is_dir()


def zig_environment() -> dict[str, str]:
    """Where cargo-zigbuild and zig are: on the path, or else in a folder of ours, from PyPI."""
    if shutil.which("cargo-zigbuild") and shutil.which("zig"):
        return {}
    folder = CACHE / "zig"
    if not (folder / "bin/cargo-zigbuild").exists():
        say(f"installing {' and '.join(ZIG)} into {folder}")
        try:
            run([sys.executable, "-m", "venv", "--clear", str(folder)])
            run([str(folder / "bin/pip"), "install", "--quiet", "--no-deps", *ZIG])
        except Refused as refused:
            raise Refused(
                "zig and cargo-zigbuild, which compile and link for musl, are missing: "
                "'pip install cargo-zigbuild ziglang' puts them on the path. "
                f"Or build with --glibc, for machines like this one. ({refused})"
            ) from None
    return {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def debian_environment() -> dict[str, str]:
    """Debian's compiler, unpacked into a folder of ours and not installed: that takes no root."""
    folder = CACHE / "debian"
    compiler = folder / "usr/bin/rustc"
    if not compiler.exists():
        unpack_debian(folder)
    libraries = [str(it) for it in sorted(folder.glob("usr/lib/*-linux-gnu"))]
    launcher = CACHE / "rustc"
    program = next(it for it in compiler_programs(folder) if it.exists())
    launcher.write_text(
        "#!/bin/sh\n"
        f'export LD_LIBRARY_PATH="{":".join(libraries)}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"\n'
        f'exec "{program}" "$@"\n'
    )
    launcher.chmod(0o755)
    run([str(launcher), "--version"])
    # The nightly option -Zbuild-std is what that variable allows.
    return {"RUSTC": str(launcher), "RUSTC_BOOTSTRAP": "1"}


def compiler_programs(folder: Path) -> list[Path]:
    return [folder / "usr/lib/rust-web/bin/rustc", folder / "usr/bin/rustc"]


def unpack_debian(folder: Path) -> None:
    names = debian_packages()
    say(f"fetching {', '.join(names)} from Debian")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as fetched:
        run(["apt-get", "download", "-q", *names], cwd=Path(fetched))
        whole = Path(fetched) / "whole"
        for package in sorted(Path(fetched).glob("*.deb")):
            run(["dpkg", "-x", str(package), str(whole)])
        shutil.rmtree(folder, ignore_errors=True)
        whole.rename(folder)


def debian_packages() -> list[str]:
    """The compiler's packages, and the libraries of its version that are not installed here."""
    missing = (
        "the standard library for musl is missing: run 'rustup target add x86_64-unknown-linux-musl', "
        "or build on Debian 12 or later, or build with --glibc, for machines like this one"
    )
    if not (shutil.which("apt-get") and shutil.which("apt-cache") and shutil.which("dpkg")):
        raise Refused(missing)
    names = list(DEBIAN)
    for name in DEBIAN:
        for needed in depends(name):
            if needed.startswith("libstd-rust-web-") and needed not in names:
                names.append(needed)
    for name in list(names):
        for needed in depends(name):
            if needed.startswith("libllvm") and needed not in names:
                names += [needed, *(it for it in depends(needed) if it.startswith("libz3"))]
    if len(names) <= len(DEBIAN):
        raise Refused(f"{missing}. If this is Debian, run 'apt-get update' first")
    return names


def depends(package: str) -> list[str]:
    """What a package depends on, in the version that would be installed."""
    shown = ["apt-cache", "show", "--no-all-versions", package]
    said = subprocess.run(shown, capture_output=True, text=True).stdout
    lines = [line for line in said.splitlines() if line.startswith("Depends: ")]
    words = ", ".join(lines).replace("Depends: ", "").split(", ")
    return [word.split()[0] for word in words if word]


def check_static(binary: Path) -> None:
    size = binary.stat().st_size
    if is_dynamic(binary):
        raise Refused(f"{binary} asks for shared libraries, which a static program must not")
    if size > BINARY_BYTES_MAX:
        # The tests of the packages fail by it; who needs a package now has one all the same.
        say(f"the binary has {size} bytes, more than the {BINARY_BYTES_MAX} that are wanted")


def is_elf(binary: Path) -> bool:
    """Whether it is a program for Linux of 64 bits."""
    with binary.open("rb") as file:
        return file.read(5) == b"\x7fELF\x02"


def is_dynamic(binary: Path) -> bool:
    """Whether a program for Linux names a loader of shared libraries."""
    if not is_elf(binary):
        raise Refused(f"{binary} is no program for Linux of 64 bits")
    image = binary.read_bytes()
    (offset,) = struct.unpack_from("<Q", image, 32)
    size, count = struct.unpack_from("<HH", image, 54)
    kinds = [struct.unpack_from("<I", image, offset + size * at)[0] for at in range(count)]
    return PT_INTERP in kinds


def stripped(binary: Path, into: Path) -> Path:
    """A copy of a binary that cargo has built, without its symbols where there is a `strip`."""
    if not binary.is_file():
        raise Refused(f"there is no binary {binary}: 'cargo build' makes target/debug/toril")
    copy = into / "toril"
    shutil.copyfile(binary, copy)
    copy.chmod(0o755)
    if is_elf(copy) and shutil.which("strip"):
        run(["strip", str(copy)])
    return copy


def run(command: list[str], environment: dict[str, str] | None = None, cwd: Path | None = None) -> None:
    """Runs a program to its end and shows what it says."""
    try:
        status = subprocess.run(command, env=environment, cwd=cwd, stdout=sys.stderr).returncode
    except OSError as error:
        raise Refused(f"{command[0]} cannot be run: {error.strerror}") from None
    if status != 0:
        raise Refused(f"'{' '.join(command)}' failed with status {status}")


def say(text: str) -> None:
    print(f"packaging/build: {text}", file=sys.stderr, flush=True)
