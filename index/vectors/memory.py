"""What was freed goes back to the system."""

import ctypes
from contextlib import suppress


def give_back() -> None:
    """Returns what the allocator keeps of freed memory; takes some milliseconds.

    glibc returns by itself only what is at an arena's end (https://man7.org/linux/man-pages/man3/malloc_trim.3.html).
    """
    with suppress(OSError, AttributeError, TypeError):  # musl, macOS; no library by no name on Windows
        ctypes.CDLL(None).malloc_trim(0)
