"""The settings of the memory allocator under which training is fast."""

import ctypes
import sys


def keep_freed_memory() -> None:
    """Tells glibc to keep freed memory. Training frees and asks for the same large blocks every step; handing them
    back to the kernel each time costs a third of the time on a CPU (88 against 129 pairs/s, measured)."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if not hasattr(libc, "mallopt"):  # another libc, such as musl
            return
        mmap_max, trim_threshold, top_pad = -4, -1, -2
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(top_pad, 2**28)
