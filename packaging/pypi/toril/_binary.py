"""Where the binary is: TORIL_BINARY, or where pip puts scripts."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path


def find_binary() -> str:
    if told := os.environ.get("TORIL_BINARY"):
        return told
    name = "toril.exe" if os.name == "nt" else "toril"
    places = _places()
    for place in places:
        if (place / name).is_file():
            return str(place / name)
    looked = ", ".join(str(place) for place in places)
    raise FileNotFoundError(
        f"toril: the executable {name} is not where pip puts scripts (looked in {looked}). "
        "Mend it: pip install --force-reinstall toril. Or set TORIL_BINARY to a toril executable."
    )


def _places() -> list[Path]:
    """This environment's scripts, the user's, and those beside a `pip install --target`."""
    user = {"posix": "posix_user", "nt": "nt_user"}.get(os.name)
    schemes = [None, *([user] if user in sysconfig.get_scheme_names() else [])]
    paths = [
        sysconfig.get_path("scripts") if scheme is None else sysconfig.get_path("scripts", scheme)
        for scheme in schemes
    ]
    beside = Path(__file__).resolve().parent.parent / "bin"
    return [*map(Path, paths), beside]
