"""Files that are broken at random: each ends in frames or in a sentence, within its limits, and nothing else suffers.

A hundred here; VICMAE_FUZZ_FILES=2000 for a night (-s shows what became of them).
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import numpy as np
import pytest
from made_media import write_animation, write_image, write_video
from numpy.typing import NDArray
from served import SEARCH, added, send, served

from vicmae.errors import MediaError
from vicmae.media.limits import MediaLimits
from vicmae.media.sandbox import Sandbox

FILES = int(os.environ.get("VICMAE_FUZZ_FILES", "100"))
LIMITS = MediaLimits(max_pixels=20_000_000, max_duration_seconds=600.0, max_frames=500)
MEMORY_BYTES = 256 * 2**20
TIMEOUT_SECONDS = 20.0
PROGRAM_BYTES = 200 * 2**20  # the interpreter and its libraries
ANSWER_BYTES = 100 * 2**20  # of shared memory, beside the child's own

Bytes = NDArray[np.uint8]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, bytes]]:
    """Sound files of every kind that decoders differ on: (suffix, bytes)."""
    folder = tmp_path_factory.mktemp("whole")
    small = (96, 64)
    paths = [write_image(folder / f"a{suffix}", 1, small) for suffix in (".jpg", ".png", ".webp", ".tif", ".bmp")]
    paths += [write_image(folder / f"a{suffix}", 1, small) for suffix in (".heic", ".avif", ".jp2", ".gif")]
    paths += [write_animation(folder / f"b{suffix}", [1, 2, 3], 200, small) for suffix in (".gif", ".webp", ".png")]
    paths += [write_video(folder / f"c{suffix}", 1, 1.0, size=small, gop=8) for suffix in (".mp4", ".mkv", ".ts")]
    paths += [
        write_video(folder / name, 1, 1.0, size=small, codec=codec, gop=8)
        for name, codec in (
            ("d.avi", "mpeg4"),
            ("e.webm", "libvpx-vp9"),
            ("f.webm", "libvpx"),
            ("g.mp4", "libsvtav1"),
            ("h.mp4", "libx265"),
            ("i.flv", "flv1"),
            ("j.wmv", "wmv2"),
        )
    ]
    return [(path.suffix, path.read_bytes()) for path in paths]


def mutated(dice: np.random.Generator, data: bytes) -> bytes:
    """The data with one to eight accidents: bytes changed, numbers made huge, parts lost, doubled or moved."""
    broken = np.frombuffer(data, np.uint8).copy()
    for _ in range(int(dice.integers(1, 9))):
        broken = accident(dice, broken)
    return broken.tobytes()


def accident(dice: np.random.Generator, data: Bytes) -> Bytes:
    # Half of them in the first kilobyte, where the numbers stand that decoders believe.
    reach = min(len(data), 1024) if dice.random() < 0.5 else len(data)
    place = int(dice.integers(0, max(reach, 1)))
    length = int(dice.integers(1, 64))
    match int(dice.integers(6)):
        case 0:
            data[place : place + 1] = dice.integers(0, 256, len(data[place : place + 1]))
        case 1:
            data[place : place + length] = dice.integers(0, 256, len(data[place : place + length]))
        case 2:
            data[place : place + 4] = [0x7F, 0xFF, 0xFF, 0xFF][: len(data[place : place + 4])]
        case 3:
            return np.delete(data, slice(place, place + length))
        case 4:
            return np.insert(data, place, data[place : place + length])
        case 5:
            return data[: max(16, place)] if dice.random() < 0.3 else data
    return data


def broken_files(whole: list[tuple[str, bytes]], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    dice = np.random.default_rng(seed)
    for number in range(count):
        suffix, data = whole[number % len(whole)]
        yield suffix, mutated(dice, data)


def peak_bytes(pid: int) -> int:
    """The most main memory that a process has held."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def test_each_ends_in_frames_or_in_a_sentence_within_its_limits(whole: list[tuple[str, bytes]], tmp_path: Path) -> None:
    told: Counter[str] = Counter()
    slowest, peak, children = 0.0, 0, set[int]()
    with Sandbox(workers=1, memory_bytes=MEMORY_BYTES, timeout_seconds=TIMEOUT_SECONDS) as sandbox:
        for number, (suffix, data) in enumerate(broken_files(whole, FILES, seed=1)):
            path = tmp_path / f"{number}{suffix}"
            path.write_bytes(data)
            began = monotonic()
            try:
                frames = sum(len(f) for f in sandbox.read_frames(path, 5.0, LIMITS))
                assert frames >= 1
                told["frames"] += 1
            except MediaError as error:
                assert str(error).endswith("."), error
                told["crash" if "crashed" in str(error) else type(error).__name__] += 1
            slowest = max(slowest, monotonic() - began)
            for pid in sandbox.process_ids:
                children.add(pid)
                if Path(f"/proc/{pid}").exists():
                    peak = max(peak, peak_bytes(pid))
            path.unlink()
        assert sandbox.probe(whole[0][1], LIMITS).kind == "image"
    print(
        f"{FILES} files: {dict(told)}, {len(children)} children, slowest {slowest:.1f} s, peak {peak / 2**20:.0f} MiB"
    )
    assert sum(told.values()) == FILES
    assert peak <= PROGRAM_BYTES + MEMORY_BYTES + ANSWER_BYTES


def test_a_server_outlives_them(whole: list[tuple[str, bytes]], tmp_path: Path) -> None:
    statuses: Counter[int] = Counter()
    path = tmp_path / "broken"
    with served(tmp_path / "data", decode_workers=2, decode_memory_bytes=MEMORY_BYTES) as client:
        for number, (_, data) in enumerate(broken_files(whole, max(20, FILES // 5), seed=2)):
            path.write_bytes(data)
            answer = send(client, path) if number % 2 else send(client, path, SEARCH)
            statuses[answer.status_code] += 1
            assert answer.status_code < 500, answer.text
        assert client.get("/livez").status_code == 200
        assert added(client, write_image(tmp_path / "good.png", 7))
    print(f"the server answered {dict(statuses)}")
