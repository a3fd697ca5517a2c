"""vicmae.training.memory: freed memory is used again, and another C library is no error."""

import ctypes
import subprocess
import sys

import pytest

from vicmae.training import memory

BLOCK_BYTES = 64_000_000  # more than glibc ever keeps by itself
SCRIPT = f"""
import resource
from vicmae.training.memory import keep_freed_memory

keep_freed_memory()
faults = []
for _ in range(20):
    b"x" * {BLOCK_BYTES}
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[-1] - faults[0])
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc only"
)
def test_a_block_that_was_freed_takes_no_fresh_pages() -> None:
    def page_faults(script: str) -> int:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        return int(done.stdout)

    forgetful = SCRIPT.replace("\nkeep_freed_memory()\n", "\n")
    assert page_faults(forgetful) > 5 * page_faults(SCRIPT) + 100


def test_another_c_library_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    memory.keep_freed_memory()
