"""Locks between processes, on a file or a folder. The kernel frees them, also when their holder is killed."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def file_lock(path: Path, wait: bool = True) -> Iterator[bool]:
    """Whether the lock is ours until the block ends; without `wait` False while another holds it.

    A file is made if need be; a folder must be there. Raises OSError where it cannot be opened, or cannot be locked:
    some network disks lock nothing.
    """
    handle = os.open(path, os.O_RDONLY) if path.is_dir() else os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            held = True
        except BlockingIOError:
            held = False
        yield held
    finally:
        os.close(handle)
