"""Where training pictures come from: folders, datasets and tar shards, listed as items and decoded once into a cache.

An item is an image or a clip. Everything is decoded one time to squashed K x K uint8 pictures in one flat file, raw or
as JPEG (`stored.py`), so that an epoch costs little or no decoding (`Pictures`). Members of tar shards are read in
order, gzip too (the WebDataset convention: one file a sample). It does not know views, batches or the model.
"""

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError, TrainingError
from ..media.preprocess import to_pixels
from ..media.reader import MEDIA_SUFFIXES, read_frames
from ..media.spec import InputSpec
from .layouts import LAYOUTS, list_dataset, split_source
from .stored import JPEG_QUALITY, JPEG_SUBSAMPLING, CacheWriter, Rows, Stored, encode_rows, read_cache

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
CLIP_FRAMES_PER_SECOND = 10.0  # fine enough for pairs one second apart, a third of the frames of a 30 fps clip
MOST_BAD_SHARE = 0.05
ITEMS_AT_ONCE = 64  # held while decoding, and at most so many bytes of encoded media:
BATCH_BYTES = 128 * 2**20
S = TypeVar("S")
R = TypeVar("R")


class Report(Protocol):
    """Told after each decoded item: how many are done."""

    def __call__(self, done: int) -> None: ...


@dataclass(frozen=True)
class Pictures:
    """Decoded items.

    data     (R, K, K, 3) uint8, read when asked for: one row an image, one row a sampled frame of a clip
    seconds  (R,) float64
    first, count  (I,) int64: the rows of item i are data[first[i] : first[i] + count[i]]
    bad      the items that could not be decoded, as (name, reason)
    source   (I,) int64: which of the sources an item is of; None from a cache that was made before this was kept
    missing  the datasets whose lists name files that are not there, as (source, how many)
    """

    data: Rows
    seconds: NDArray[np.float64]
    first: NDArray[np.int64]
    count: NDArray[np.int64]
    bad: list[tuple[str, str]]
    source: NDArray[np.int64] | None = None
    missing: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.first)

    @property
    def is_clip(self) -> NDArray[np.bool_]:
        """(I,) true where an item has frames at more than one time."""
        return self.count > 1


@dataclass(frozen=True)
class Listed:
    """files, sorted and each once; source[i] says which source named files[i] first; missing as (name, reason)."""

    files: list[Path]
    source: list[int]
    missing: list[tuple[str, str]]


def list_files(sources: list[Path]) -> Listed:
    """Media files and tar shards named by, or found below, `sources`; of a dataset LAYOUT:FOLDER its train items."""
    found: dict[Path, int] = {}
    missing: list[tuple[str, str]] = []
    for number, source in enumerate(sources):
        layout, path = split_source(source)
        if layout is not None:
            listing = list_dataset(layout, path)
            files = [item.path for item in listing.items if item.split == "train"]
            if not files:
                raise TrainingError(f"{path} has no train items to learn from.")
            if listing.missing:
                reason = f"{len(listing.missing)} listed files are not there, such as {listing.missing[0]}."
                missing.append((str(source), reason))
        elif path.is_dir():
            files = [p for p in path.rglob("*") if p.is_file() and _is_wanted(p)]
        elif path.is_file():
            files = [path]
        else:
            raise TrainingError(
                f"There is no file or folder {path}. Name folders, media files, tar shards, or datasets as "
                f"LAYOUT:FOLDER with LAYOUT one of {', '.join(LAYOUTS)}."
            )
        for file in files:
            found.setdefault(file, number)
    if not found:
        raise TrainingError(
            f"No picture, video or tar shard below {', '.join(map(str, sources))}. Files are known by their "
            f"endings, such as .jpg, .png, .mp4, .webm or .tar: name folders that hold some, or rename the files."
        )
    files = sorted(found)
    return Listed(files, [found[file] for file in files], missing)


def _is_wanted(path: Path) -> bool:
    return path.name.endswith(TAR_SUFFIXES) or path.suffix.lower() in MEDIA_SUFFIXES


def read_samples(files: list[Path]) -> Iterator[tuple[int, str, bytes]]:
    """(place of its file, name, bytes) of every media file, and of every media member of a tar shard, in order."""
    for place, file in enumerate(files):
        if not file.name.endswith(TAR_SUFFIXES):
            try:
                content = file.read_bytes()
            except OSError as error:
                raise TrainingError(f"{file} cannot be read: {error.strerror}. Leave it out.") from error
            yield place, file.name, content
            continue
        try:
            with tarfile.open(file, "r|*", tarinfo=WholeHeader) as shard:
                for member in shard:
                    if member.isfile() and Path(member.name).suffix.lower() in MEDIA_SUFFIXES:
                        handle = shard.extractfile(member)
                        if handle is not None:
                            yield place, f"{file.name}:{member.name}", handle.read()
        except (tarfile.TarError, EOFError, OSError) as error:
            raise TrainingError(
                f"The shard {file} cannot be read ({error}). Fetch it again or leave it out."
            ) from error


class WholeHeader(tarfile.TarInfo):
    """A tar header that must be whole: tarfile takes a missing or damaged one behind the first member for the end of
    the archive, so a shard that was cut between two members would lose the rest of them in silence."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if not buf:
            raise tarfile.ReadError(
                "it ends without a tar file's end mark, so members may be missing; if it is whole, "
                "`truncate -s +1024` adds the mark to an uncompressed one"
            )
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if not any(buf):  # the end mark
                raise
            raise tarfile.ReadError(f"a member's header is damaged or cut off: {error}") from error


def decode_sample(
    content: bytes, size: int, clip_frames_per_second: float
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """An encoded picture or clip -> ((T, size, size, 3) uint8, (T,) seconds), squashed to the square."""
    spec = InputSpec(size=size, patch=size, dim=1, fit="squash")
    chunks = list(read_frames(content, clip_frames_per_second))
    return np.concatenate([to_pixels(c, spec) for c in chunks]), np.concatenate([c.seconds for c in chunks])


def load_pictures(
    sources: list[Path],
    cache: Path,
    size: int,
    report: Report | None = None,
    *,
    stored: Stored = "raw",
    clip_frames_per_second: float = CLIP_FRAMES_PER_SECOND,
    threads: int = 1,
) -> Pictures:
    """Decodes all items of `sources` to `size` x `size` into the folder `cache`, or takes what is there already.

    Bad items are counted and skipped; more than 5 % of them raise TrainingError, as does a damaged cache. Rows that are
    stored as JPEG are decoded in `threads` threads.
    """
    listed = list_files(sources)
    files = listed.files
    folder = cache / _cache_key(files, size, clip_frames_per_second, stored)
    if not (folder / "index.json").exists():
        _decode_all(files, folder, size, clip_frames_per_second, stored, report)
    kept = read_cache(folder, stored, size, threads)
    items, bad = len(kept.count), kept.bad
    require_few_bad(bad, items + len(bad))
    source = None if kept.file is None else np.asarray(listed.source, np.int64)[kept.file]
    return Pictures(kept.data, kept.seconds, kept.first, kept.count, bad, source, tuple(listed.missing))


def _cache_key(files: list[Path], size: int, clip_frames_per_second: float, stored: Stored) -> str:
    """Names, lengths and times of the files say whether a cache still holds what they hold."""
    stats = [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    form = [] if stored == "raw" else [stored, JPEG_QUALITY, JPEG_SUBSAMPLING]  # raw: as caches of before are named
    return hashlib.sha256(json.dumps([stats, size, clip_frames_per_second, *form]).encode()).hexdigest()[:16]


def _decode_all(
    files: list[Path],
    folder: Path,
    size: int,
    clip_frames_per_second: float,
    stored: Stored,
    report: Report | None,
) -> None:
    """Writes the cache `folder` aside and renames it when it is whole."""
    bad: list[tuple[str, str]] = []

    def decode(sample: tuple[int, str, bytes]) -> tuple[NDArray[np.float64], list[bytes]]:
        pixels, seconds = decode_sample(sample[2], size, clip_frames_per_second)
        return seconds, encode_rows(pixels, stored)

    aside = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)  # of decoding that was killed
    aside.mkdir(parents=True)
    try:
        with CacheWriter(aside, stored) as writer:
            items = decode_in_threads(read_samples(files), decode, lambda s: s[1], lambda s: len(s[2]), bad, report)
            for (place, *_), rows in items:
                writer.add(place, *rows)
            writer.finish(bad)
        shutil.rmtree(folder, ignore_errors=True)  # what an earlier version left when it was killed
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)  # half of the pictures are of no use, and may be what fills the disk


def decode_in_threads(
    samples: Iterable[S],
    decode: Callable[[S], R],
    name_of: Callable[[S], str],
    bytes_of: Callable[[S], int],
    bad: list[tuple[str, str]],
    report: Report | None,
) -> Iterator[tuple[S, R]]:
    """(sample, decoded), in order; what cannot be decoded goes to `bad` as (name, reason).

    TrainingError at the end where not one could be decoded.
    """

    def attempt(sample: S) -> R | MediaError:
        try:
            return decode(sample)
        except MediaError as error:
            return error

    done = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for batch in in_batches(samples, ITEMS_AT_ONCE, bytes_of):
            for sample, result in zip(batch, pool.map(attempt, batch), strict=True):
                if isinstance(result, MediaError):
                    bad.append((name_of(sample), str(result)))
                    continue
                yield sample, result
                done += 1
                if report is not None:
                    report(done)
    if not done:
        reason = f" The first: {bad[0][0]}: {bad[0][1]}" if bad else ""
        raise TrainingError(f"Not one item could be decoded.{reason}")


def require_few_bad(bad: list[tuple[str, str]], items: int) -> None:
    """Stops when more than 5 % of the items cannot be decoded."""
    if len(bad) > MOST_BAD_SHARE * items:
        raise TrainingError(
            f"{len(bad)} of {items} items cannot be decoded, more than {MOST_BAD_SHARE:.0%}. Repair them, or move "
            f"them out of the sources. The first: {bad[0][0]}: {bad[0][1]}"
        )


def in_batches(samples: Iterable[S], size: int, bytes_of: Callable[[S], int]) -> Iterator[list[S]]:
    """Lists of `size` samples, fewer where they are long videos, so that memory stays bounded."""
    batch: list[S] = []
    held_bytes = 0
    for sample in samples:
        batch.append(sample)
        held_bytes += bytes_of(sample)
        if len(batch) == size or held_bytes >= BATCH_BYTES:
            yield batch
            batch, held_bytes = [], 0
    if batch:
        yield batch
