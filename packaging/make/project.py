"""What all packages have in common: the version, the licence, and the time that their files bear."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGING = ROOT / "packaging"
CACHE = PACKAGING / ".cache"


class Refused(Exception):
    """Why nothing is built, in words for the person who asked for it."""


def cargo_field(name: str) -> str:
    """A field of `[package]` in Cargo.toml, where each such fact stands once."""
    text = (ROOT / "Cargo.toml").read_text(encoding="utf-8")
    package = text.split("\n[", 1)[0]
    found = re.search(rf'^{name} = "(.*)"$', package, re.MULTILINE)
    if found is None:
        raise Refused(f"Cargo.toml has no {name} in [package]")
    return found[1]


VERSION = cargo_field("version")
DESCRIPTION = cargo_field("description")
LICENSE = cargo_field("license")
REPOSITORY = cargo_field("repository")


def epoch() -> int:
    """The seconds that files in packages bear, so that two builds of one commit are equal."""
    if told := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(told)
    git = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    try:
        said = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        said = ""
    # 1980 is the first year that a zip file, and so a wheel, can tell.
    return int(said or 315_532_800)
