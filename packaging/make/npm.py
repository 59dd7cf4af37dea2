"""npm's packages: `toril`, which is JavaScript alone, and one with the binary for each platform.

The binary arrives as an optional dependency that npm chooses by `os` and `cpu`: nothing is run or
fetched at installation. The tarballs are written here and not by `npm pack`, so that they need no
Node and are the same each time.
"""

from __future__ import annotations

import json
from pathlib import Path

from .archive import tar_gz
from .platforms import PLATFORMS, Platform
from .project import LICENSE, PACKAGING, REPOSITORY, ROOT, VERSION

SOURCE = PACKAGING / "npm/toril"


def library(into: Path) -> Path:
    """The package `toril`: what is in packaging/npm/toril, and what Cargo.toml says."""
    described = common() | json.loads((SOURCE / "package.json").read_text(encoding="utf-8"))
    # Exact versions: a library and a binary of different versions would not understand each other.
    described["optionalDependencies"] = {f"@toril/{it.name}": VERSION for it in PLATFORMS}
    files = {
        path.relative_to(SOURCE).as_posix(): path.read_bytes()
        for path in SOURCE.rglob("*")
        if path.is_file() and "node_modules" not in path.parts
    }
    return tarball(into / f"toril-{VERSION}.tgz", described, files)


def platform_package(platform: Platform, programs: dict[str, bytes], into: Path) -> Path:
    described = common() | {
        "name": f"@toril/{platform.name}",
        "description": f"The program toril for {platform.name}. Install toril, which chooses it.",
        "os": [platform.os],
        "cpu": [platform.cpu],
        # Yarn would leave it in an archive, out of which no program can be started.
        "preferUnplugged": True,
    }
    files = {f"bin/{name}": content for name, content in programs.items()}
    return tarball(into / f"toril-{platform.name}-{VERSION}.tgz", described, files)


def common() -> dict:
    repository = {"type": "git", "url": f"git+{REPOSITORY}.git"}
    return {"name": "toril", "version": VERSION, "license": LICENSE, "repository": repository}


def tarball(path: Path, described: dict, files: dict[str, bytes]) -> Path:
    files["package.json"] = (json.dumps(described, indent=2) + "\n").encode()
    files["LICENSE"] = (ROOT / "LICENSE").read_bytes()
    inside = {f"package/{name}": content for name, content in files.items()}
    return tar_gz(path, inside, {name for name in inside if name.startswith("package/bin/")})
