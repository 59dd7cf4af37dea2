"""Where the binary is: TORIL_BINARY, or where pip puts scripts."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

NAME = "toril"


def find_binary() -> str:
    if told := os.environ.get("TORIL_BINARY"):
        return told
    places = _places()
    for place in places:
        if (place / NAME).is_file():
            return str(place / NAME)
    looked = ", ".join(str(place) for place in places)
    raise FileNotFoundError(
        f"toril: the executable {NAME} is not where pip puts scripts (looked in {looked}). "
        "Mend it: pip install --force-reinstall toril. Or set TORIL_BINARY to a toril executable."
    )


def _places() -> list[Path]:
    """This environment's scripts, the user's, and those beside a `pip install --target`."""
    paths = [sysconfig.get_path("scripts"), sysconfig.get_path("scripts", "posix_user")]
    beside = Path(__file__).resolve().parent.parent / "bin"
    return [*map(Path, paths), beside]
