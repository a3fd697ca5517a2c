"""Memory goes back to the system: what was freed, and what mapped files hold of it. Knows nothing of either."""

import ctypes
import mmap
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


def give_back() -> None:
    """Returns what the allocator keeps of freed memory; takes some milliseconds.

    Rows that come and go leave holes in every thread's arena, and glibc returns by itself only what is at an arena's
    end (https://man7.org/linux/man-pages/man3/malloc_trim.3.html). Does nothing where the C library is another.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


def forget_pages(mapped: NDArray[np.uint8]) -> None:
    """Pages of a file that is mapped for reading count as this process's no longer, until they are looked at again.

    The system keeps them cached, so that costs little. mapped: contiguous. Does nothing where there is no madvise.
    """
    advise = _of_libc("madvise")
    if advise is None or not hasattr(mmap, "MADV_DONTNEED"):
        return
    first = -(-mapped.ctypes.data // mmap.PAGESIZE) * mmap.PAGESIZE  # whole pages only
    last = (mapped.ctypes.data + mapped.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if first < last:
        advise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), mmap.MADV_DONTNEED)


def _malloc_trim() -> Any:
    return _of_libc("malloc_trim")


@lru_cache(2)
def _of_libc(name: str) -> Any:
    """The function; None: this C library has none of that name."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError, TypeError):  # musl, macOS; no library by no name on Windows
        return None
