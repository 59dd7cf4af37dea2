"""Archives that are the same each time: sorted, with the commit's time and nobody's name."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

from .project import epoch


def tar_gz(path: Path, files: dict[str, bytes], programs: set[str]) -> Path:
    """Writes files by their names; those that are programs may be run."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o755 if name in programs else 0o644
            member.mtime = epoch()
            archive.addfile(member, io.BytesIO(content))
    path.write_bytes(gzip.compress(packed.getvalue(), 9, mtime=0))
    return path
