"""vicmae.index.vectors.memory: what was freed is returned."""

import mmap
import sys
from pathlib import Path

import numpy as np
import pytest

from vicmae.index.vectors import memory


def resident_bytes() -> int:
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])


@pytest.mark.skipif(not sys.platform.startswith("linux") or memory._malloc_trim() is None, reason="glibc only")
def test_holes_between_what_is_held_are_given_back() -> None:
    blocks = [bytearray(60_000) for _ in range(2000)]  # below what the allocator maps one by one
    full = resident_bytes()
    held = blocks[::10]
    del blocks
    memory.give_back()
    assert full - resident_bytes() > 60_000 * 1000
    assert len(held) == 200


def test_another_c_library_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_malloc_trim", lambda: None)
    memory.give_back()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_pages_of_a_mapped_file_are_forgotten_and_read_again(tmp_path: Path) -> None:
    size = 32 * 2**20
    (tmp_path / "file").write_bytes(np.random.default_rng(0).integers(0, 256, size, np.uint8).tobytes())
    with open(tmp_path / "file", "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        held = np.frombuffer(mapped, np.uint8)
        before = int(held.sum(dtype=np.int64))
        full = resident_bytes()
        memory.forget_pages(held[1000:-1000])
        assert full - resident_bytes() > 0.9 * size
        assert int(held.sum(dtype=np.int64)) == before
        memory.forget_pages(held[:10])
        del held
