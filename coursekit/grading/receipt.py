"""What is known of a submission that came out of a learning platform's archive: a small file beside it.

It is hidden, so that it is not taken for handed in; and archives' hidden files are left out, so no student writes one.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE = ".archive.json"
_LIMIT = 64 * 1024


@dataclass(frozen=True)
class Receipt:
    """platform: "moodle", "canvas" or "plain"; platform_id: the student's there; modified: the time of the newest file
    in the archive, which tells an older download from a newer; remarks: what the instructor should know."""

    platform: str
    platform_id: str
    modified: str = ""
    remarks: list[str] = field(default_factory=list)

    def as_bytes(self) -> bytes:
        """The content of the file."""
        return json.dumps(asdict(self), indent=1).encode() + b"\n"


def read(folder: Path) -> Receipt | None:
    """The receipt in a submission's folder. None if there is none, or none that can be read."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        path = folder / FILE
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return None
        with open(path, "rb") as file:
            content = json.loads(file.read(_LIMIT))
        remarks = [str(remark) for remark in content["remarks"]]
        return Receipt(str(content["platform"]), str(content["platform_id"]), str(content["modified"]), remarks)
    return None
