"""vicmae.index.vectors.memory: what was freed is returned."""

import ctypes
import sys
from pathlib import Path

import pytest

from vicmae.index.vectors import memory


def resident_bytes() -> int:
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="glibc only"
)
def test_holes_between_what_is_held_are_given_back() -> None:
    blocks = [bytearray(60_000) for _ in range(2000)]  # below what the allocator maps one by one
    full = resident_bytes()
    held = blocks[::10]
    del blocks
    memory.give_back()
    assert full - resident_bytes() > 60_000 * 1000
    assert len(held) == 200


def test_another_c_library_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    memory.give_back()
