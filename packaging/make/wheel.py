"""PyPI's package: a wheel for each platform, with the library and the binary.

The binary lies where pip looks for scripts, so that `toril` is on the path after the installation.
The wheel is written here, without a build tool: it is an archive of files with a list of them.
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
import zipfile
from pathlib import Path

from .binary import is_dynamic
from .platforms import Platform
from .project import DESCRIPTION, LICENSE, PACKAGING, REPOSITORY, ROOT, VERSION, epoch

SOURCE = PACKAGING / "pypi"


def wheel(platform: Platform, binary: Path, programs: dict[str, bytes], into: Path) -> Path:
    tag = tag_of(platform, binary)
    info = f"toril-{VERSION}.dist-info"
    files = {
        path.relative_to(SOURCE).as_posix(): path.read_bytes()
        for path in sorted((SOURCE / "toril").rglob("*"))
        if path.suffix == ".py" or path.name == "py.typed"
    }
    for name, content in programs.items():
        files[f"toril-{VERSION}.data/scripts/{name}"] = content
    files[f"{info}/METADATA"] = metadata()
    files[f"{info}/WHEEL"] = wheel_file(tag)
    files[f"{info}/entry_points.txt"] = b"[pytest11]\ntoril = toril.pytest_plugin\n"
    files[f"{info}/licenses/LICENSE"] = (ROOT / "LICENSE").read_bytes()
    files[f"{info}/RECORD"] = record(files, f"{info}/RECORD")
    path = into / f"toril-{VERSION}-py3-none-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in files.items():
            archive.writestr(entry(name), content)
    return path


def tag_of(platform: Platform, binary: Path) -> str:
    """The platform's tag; that of a program for glibc names the oldest glibc that it runs on."""
    if platform.os != "linux" or not is_dynamic(binary):
        return platform.wheel_tag
    minors = [int(found) for found in re.findall(rb"GLIBC_2\.(\d+)", binary.read_bytes())]
    cpu = {"x64": "x86_64", "arm64": "aarch64"}[platform.cpu]
    return f"manylinux_2_{max(minors)}_{cpu}"


def metadata() -> bytes:
    head = [
        "Metadata-Version: 2.4",
        "Name: toril",
        f"Version: {VERSION}",
        f"Summary: {DESCRIPTION}",
        f"License-Expression: {LICENSE}",
        "License-File: LICENSE",
        f"Project-URL: Source, {REPOSITORY}",
        "Classifier: Framework :: Pytest",
        "Classifier: Typing :: Typed",
        "Requires-Python: >=3.9",
        "Description-Content-Type: text/markdown",
    ]
    description = (SOURCE / "README.md").read_text(encoding="utf-8")
    return ("\n".join(head) + "\n\n" + description).encode()


def wheel_file(tag: str) -> bytes:
    tags = [f"Tag: py3-none-{part}" for part in tag.split(".")]
    lines = ["Wheel-Version: 1.0", "Generator: packaging/build", "Root-Is-Purelib: false", *tags]
    return ("\n".join(lines) + "\n").encode()


def record(files: dict[str, bytes], itself: str) -> bytes:
    lines = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(content)}")
    return ("\n".join([*lines, f"{itself},,"]) + "\n").encode()


def entry(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, time.gmtime(epoch())[:6])
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3  # Unix, so that the modes count.
    info.external_attr = (0o100755 if "/scripts/" in name else 0o100644) << 16
    return info
