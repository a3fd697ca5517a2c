"""How decoded pictures lie in a cache folder: raw or as JPEG, and the columns of numbers beside them.

    index.json                      bad items; written last, so a folder without it is no cache
    count.npy file.npy              (I,) int64: rows of an item, place of the file it is from
    seconds.npy                     (R,) float64, mapped into memory
    pictures.u8                     raw: R x K x K x 3 bytes
    pictures.jpeg                   jpeg: one JPEG file behind the other
    offsets.npy checks.npy          jpeg: (R + 1,) int64 where each begins, (R,) uint32 its CRC-32

Columns are .npy because 5 M rows in JSON take 2.5 s and 470 MiB in every process, mapped 1 ms and nothing (two cores
of a Xeon at 2.5 GHz, 2026-11-21). It does not know sources or media.
"""

import io
import json
import os
import zlib
from array import array
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import TrainingError

Stored = Literal["raw", "jpeg"]
PICTURES = {"raw": "pictures.u8", "jpeg": "pictures.jpeg"}
JPEG_QUALITY = 90
JPEG_SUBSAMPLING = "4:2:0"
ROWS_AT_ONCE = 16  # decoded by a thread of the pool before it takes the next


class Rows(Protocol):
    """Decoded pictures by row number: rows (...) int64 -> (..., K, K, 3) uint8; shape is (R, K, K, 3)."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


@dataclass(frozen=True)
class CacheContents:
    """What a cache folder holds: seconds of rows; first, count, file of items (no file in a cache of before)."""

    data: Rows
    seconds: NDArray[np.float64]
    first: NDArray[np.int64]
    count: NDArray[np.int64]
    file: NDArray[np.int64] | None
    bad: list[tuple[str, str]]


class JpegRows:
    """Rows of a pictures.jpeg, read and decoded in `threads` threads when they are asked for."""

    def __init__(
        self, path: Path, offsets: NDArray[np.int64], checks: NDArray[np.uint32], size: int, threads: int
    ) -> None:
        self.path, self.offsets, self.checks, self.threads = path, offsets, checks, threads
        self.shape = (len(checks), size, size, 3)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any, /) -> NDArray[np.uint8]:
        wanted = np.asarray(rows, np.int64)
        distinct, place = np.unique(wanted, return_inverse=True)  # both views of an image are of one row
        pixels = np.empty((len(distinct), *self.shape[1:]), np.uint8)

        def fill(file: int, begin: int) -> None:
            for index in range(begin, min(begin + ROWS_AT_ONCE, len(distinct))):
                pixels[index] = self._decode(file, int(distinct[index]))

        try:
            with self.path.open("rb") as file, ThreadPoolExecutor(self.threads) as pool:
                list(pool.map(partial(fill, file.fileno()), range(0, len(distinct), ROWS_AT_ONCE)))
        except OSError as error:  # Pillow's errors too
            raise damaged(self.path.parent, error) from error
        return pixels[place.reshape(wanted.shape)]

    def _decode(self, file: int, row: int) -> NDArray[np.uint8]:
        begin, end = int(self.offsets[row]), int(self.offsets[row + 1])
        # Not mapped: a page that must come from the disk would stop all threads, a read stops only its own.
        content = os.pread(file, end - begin, begin)
        if zlib.crc32(content) != self.checks[row]:
            raise OSError(f"picture {row} is not what was written")
        # torchvision.io decodes a quarter faster, measured, but is to be removed from torchvision (0.29 says so).
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(image)


def damaged(folder: Path, reason: object) -> TrainingError:
    return TrainingError(f"The cache {folder} is damaged ({reason}). Remove it, then start again: it is made anew.")


def encode_rows(pixels: NDArray[np.uint8], stored: Stored) -> list[bytes]:
    """(T, K, K, 3) uint8 -> T contents as they go into the file."""
    return [picture.tobytes() if stored == "raw" else _jpeg(picture) for picture in pixels]


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "jpeg", quality=JPEG_QUALITY, subsampling=JPEG_SUBSAMPLING)
    return out.getvalue()


@dataclass
class CacheWriter:
    """Writes the pictures as they come, everything else at the end (`finish`)."""

    folder: Path
    stored: Stored
    items: int = 0
    count: "array[int]" = field(default_factory=lambda: array("q"))
    file: "array[int]" = field(default_factory=lambda: array("q"))
    seconds: "array[float]" = field(default_factory=lambda: array("d"))
    offsets: "array[int]" = field(default_factory=lambda: array("q", [0]))
    checks: "array[int]" = field(default_factory=lambda: array("L"))

    def __enter__(self) -> Self:
        self.out = (self.folder / PICTURES[self.stored]).open("wb")
        return self

    def __exit__(self, *_: object) -> None:
        self.out.close()

    def add(self, file: int, seconds: NDArray[np.float64], contents: list[bytes]) -> None:
        """One item: the place of its file, and its T rows."""
        self.items += 1
        self.count.append(len(contents))
        self.file.append(file)
        self.seconds.extend(seconds.tolist())
        for content in contents:
            self.out.write(content)
            if self.stored == "jpeg":
                self.offsets.append(self.offsets[-1] + len(content))
                self.checks.append(zlib.crc32(content))

    def finish(self, bad: list[tuple[str, str]]) -> None:
        self.out.flush()
        os.fsync(self.out.fileno())
        columns = {"count": self.count, "file": self.file, "seconds": self.seconds}
        if self.stored == "jpeg":
            np.save(self.folder / "checks.npy", np.asarray(self.checks, np.uint32))
            columns["offsets"] = self.offsets
        for name, column in columns.items():
            np.save(self.folder / f"{name}.npy", np.asarray(column))
        (self.folder / "index.json").write_text(json.dumps({"bad": bad}))


def read_cache(folder: Path, stored: Stored, size: int, threads: int) -> CacheContents:
    """Maps a cache folder that is whole; raises TrainingError for one that is damaged."""
    try:
        index = json.loads((folder / "index.json").read_text())
        bad = [(name, reason) for name, reason in index["bad"]]
        columns = _columns_of_before(index) if "seconds" in index else _columns(folder)
        seconds, count = columns["seconds"], columns["count"]
        data: Rows
        if stored == "raw":
            data = np.memmap(folder / PICTURES["raw"], np.uint8, "r", shape=(len(seconds), size, size, 3))
        else:
            offsets, checks = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("offsets", "checks"))
            written = (folder / PICTURES["jpeg"]).stat().st_size
            if written != offsets[-1] or not len(seconds) == len(checks) == len(offsets) - 1:
                raise ValueError(f"{PICTURES['jpeg']} has {written} bytes, expected {offsets[-1]}")
            data = JpegRows(folder / PICTURES["jpeg"], offsets, checks, size, threads)
        if count.sum() != len(seconds):
            raise ValueError(f"its items have {count.sum()} pictures, it holds {len(seconds)}")
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise damaged(folder, error) from error
    return CacheContents(data, seconds, np.cumsum(count) - count, count, columns.get("file"), bad)


def _columns(folder: Path) -> dict[str, NDArray[Any]]:
    return {
        "seconds": np.load(folder / "seconds.npy", mmap_mode="r"),
        "count": np.load(folder / "count.npy"),
        "file": np.load(folder / "file.npy"),
    }


def _columns_of_before(index: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """The columns as caches before 2026-11-21 hold them: all in index.json."""
    columns = {"seconds": np.asarray(index["seconds"], np.float64), "count": np.asarray(index["count"], np.int64)}
    return {**columns, "file": np.asarray(index["file"], np.int64)} if "file" in index else columns
