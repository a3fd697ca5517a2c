"""A folder that is replaced whole: whoever looks sees the old one or the new one. Knows nothing of bundles."""

import ctypes
import os
import sys
from pathlib import Path

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


def put_in_place(new: Path, place: Path) -> None:
    """Makes `new` stand at `place`, on disk; what stood there stands at `new` afterwards, or nothing does.

    One system call where Linux has it (renameat2, https://man7.org/linux/man-pages/man2/rename.2.html); elsewhere
    two renames, between which a crash leaves the old folder at `place`.old. OSError where the disk refuses.
    """
    for path in new.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    if not place.exists():
        new.rename(place)
    elif not _exchange(new, place):
        old = place.with_name(place.name + ".old")
        place.rename(old)
        new.rename(place)
        old.rename(new)
    if os.name == "posix":
        folder = os.open(place.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def _exchange(one: Path, other: Path) -> bool:
    """Swaps two folders in one step; False where the system or its file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return (
        renameat2 is not None
        and renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0
    )
