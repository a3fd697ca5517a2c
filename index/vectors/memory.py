"""What was freed goes back to the system."""

import ctypes
from functools import lru_cache
from typing import Any


def give_back() -> None:
    """Returns what the allocator keeps of freed memory; takes some milliseconds.

    Rows that come and go leave holes in every thread's arena, and glibc returns by itself only what is at an arena's
    end (https://man7.org/linux/man-pages/man3/malloc_trim.3.html). Does nothing where the C library is another.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@lru_cache(1)
def _malloc_trim() -> Any:
    """The function; None: this C library has none of that name."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # musl, macOS; no library by no name on Windows
        return None
