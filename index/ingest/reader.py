"""Reading one file, step by step: stat, hash, find a twin, probe, decode. Gives pixels; stores nothing."""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import MediaError, NotFound
from ...media.frames import Frames
from ...media.informativeness import informativeness
from ...media.preprocess import enough_side, to_pixels
from ...media.reader import MediaInfo
from ..catalog import Item, Moments, check_item_id, default_item_id
from ..collection import Collection
from ..paths import file_uri, printable
from ..pictures import SIDE, Spool
from .options import IngestOptions

Stage = Literal["read", "probe", "decode", "embed"]

HASH_BYTES = 1 << 20
MAX_CHUNK_FRAMES = 16

INCOMPLETE = "Incomplete: the file ends early or is damaged, and what could be decoded of it was taken."


class Unreadable(Exception):
    """A file that stopped at `stage`; `reason` is a sentence for the user. write.py makes it an Outcome."""

    def __init__(self, stage: Stage, reason: str) -> None:
        super().__init__(reason)
        self.stage = stage
        self.reason = reason


@dataclass(frozen=True)
class Stored:
    """An item of another collection, whose stored pictures are read in the place of its file."""

    collection: Collection
    item: Item
    mtime_ns: int


@dataclass(frozen=True)
class Task:
    """One file to take into a collection, and under which names.

    created_at  None: now, or as it was
    stored      what to read instead of the file, which may be away
    replaces    whether it may take the place of an item of the same id
    """

    path: Path
    uri: str
    name: str
    item_id: str
    metadata: dict[str, Any] | None = None
    created_at: str | None = None
    stored: Stored | None = None
    replaces: bool = True

    @classmethod
    def of(
        cls,
        path: Path,
        uri: str | None = None,
        name: str | None = None,
        item_id: str | None = None,
        metadata: dict[str, Any] | None = None,
        replaces: bool = True,
    ) -> "Task":
        """Unless said otherwise: the file's own uri and name, and the id made of the uri."""
        path = Path(os.path.abspath(path))
        uri = file_uri(path) if uri is None else uri
        shown = printable(Path(path.name)) if name is None else name
        known_as = default_item_id(uri) if item_id is None else check_item_id(item_id)
        return cls(path, uri, shown, known_as, metadata, replaces=replaces)


@dataclass(frozen=True)
class Chunk:
    """pixels (n, S, S, 3) uint8 shown at seconds (n,) float64; informative (n,) float32 in 0..1.

    end_seconds (n,) float64 until when each stands for the video; None: until the next one.
    """

    pixels: NDArray[np.uint8]
    seconds: NDArray[np.float64]
    informative: NDArray[np.float32]
    end_seconds: NDArray[np.float64] | None = None


@dataclass
class Reading:
    """One file under way, filled in step by step by `read` and, with its vectors, by whoever embeds.

    size_bytes, mtime_ns  when we began, to notice a change while reading; -1 if not looked at
    same   the collection holds exactly this already: nothing to do
    twin   an item with the same bytes, and its moments, which need no decoding
    pictures  those of the frames that were read, or of the twin; None where none are to be kept
    frames_per_second  at which a video is sampled; 0.0 before that is known
    notes  sentences on how the item is less than was asked for
    """

    task: Task
    size_bytes: int = -1
    mtime_ns: int = -1
    sha256: str = ""
    same: Item | None = None
    twin: tuple[Item, Moments] | None = None
    info: MediaInfo | None = None
    pictures: Spool | None = None
    frames_per_second: float = 0.0
    notes: list[str] = field(default_factory=list)
    failure: Unreadable | None = None
    seconds: list[NDArray[np.float64]] = field(default_factory=list)
    end_seconds: list[NDArray[np.float64]] = field(default_factory=list)
    informative: list[NDArray[np.float32]] = field(default_factory=list)
    vectors: list[NDArray[np.float32]] = field(default_factory=list)

    @property
    def frames(self) -> int:
        """Frames embedded so far."""
        return sum(map(len, self.vectors))


def read(reading: Reading, collection: Collection, options: IngestOptions) -> Iterator[Chunk]:
    """Goes through the steps of one file and gives its pixels in bounded memory; none if they are not needed.

    A file that cannot be read ends with `reading.failure` set. Only StorageError is raised, and the catalog's errors.
    """
    path, limits = reading.task.path, options.limits.for_own_disk()
    try:
        if reading.task.stored is not None:
            yield from _read_stored(reading, reading.task.stored, collection, options)
            return
        reading.size_bytes, reading.mtime_ns = size_and_time(path)
        reading.sha256 = sha256_of(path)
        if _is_known(reading, collection, options):
            return
        with at_stage("probe"):
            reading.info = options.decoder.probe(path, limits)
        rate = options.rate_for(reading.info.duration_seconds)
        if rate < options.frames_per_second:
            reading.notes.append(_thinned(reading.info, rate))
        reading.frames_per_second = rate
        with at_stage("decode"):
            found = options.decoder.read_frames(
                path,
                rate,
                limits,
                chunk=MAX_CHUNK_FRAMES,
                shorter_side=max(enough_side(collection.spec), SIDE),
                sampling=options.sampling,
            )
            if keeps_pictures(collection, options):
                reading.pictures = collection.pictures.spool()
            with closing(found):
                for frames in found:
                    if reading.pictures is not None:
                        reading.pictures.add(frames)
                    if frames.incomplete and INCOMPLETE not in reading.notes:
                        reading.notes.append(INCOMPLETE)
                    pixels = to_pixels(frames, collection.spec)
                    yield Chunk(pixels, frames.seconds, informativeness(pixels))
    except Unreadable as failure:
        reading.failure = failure


def _read_stored(reading: Reading, stored: Stored, collection: Collection, options: IngestOptions) -> Iterator[Chunk]:
    """As read, from the stored pictures of an item, which become the new item's too. Raises Unreadable."""
    item = stored.item
    reading.size_bytes, reading.mtime_ns, reading.sha256 = item.size_bytes, stored.mtime_ns, item.sha256
    reading.info = MediaInfo(item.kind, item.width, item.height, item.duration_seconds, "", item.mime)
    reading.frames_per_second = item.frames_per_second
    reading.notes = [item.note] if item.note else []
    kept = reading.pictures = collection.pictures.spool() if keeps_pictures(collection, options) else None
    pictures = stored.collection.pictures.all_of(item.id)
    with at_stage("decode"):
        while some := list(islice(pictures, MAX_CHUNK_FRAMES)):
            starts, ends = np.array([(each.start_seconds, each.end_seconds) for each in some]).T
            shown = [Frames(each.pixels()[None], np.zeros(1)) for each in some]
            pixels = np.concatenate([to_pixels(frames, collection.spec) for frames in shown])
            if kept is not None:
                for each in some:
                    kept.put(each.start_seconds, each.data)
            yield Chunk(pixels, starts, informativeness(pixels), ends)


def keeps_pictures(collection: Collection, options: IngestOptions) -> bool:
    """Whether there is room for pictures, and they are wanted."""
    return options.frame_store and collection.pictures.has_room(options.frame_store_max_bytes)


def _thinned(info: MediaInfo, rate: float) -> str:
    return (
        f"Sampled more thinly, {rate:.3g} frames a second: it lasts {info.duration_seconds / 3600:.1f} h (max_frames)."
    )


def size_and_time(path: Path) -> tuple[int, int]:
    """Bytes, and nanoseconds since 1970 of the last change, of a regular file. Raises Unreadable."""
    with at_stage("read"):
        known = path.stat()
    if not stat.S_ISREG(known.st_mode):
        raise Unreadable("read", "It is not a regular file.")
    return known.st_size, known.st_mtime_ns


def check_unchanged(reading: Reading) -> None:
    """Refuses a file written to while we read it: its hash and its vectors may not belong together."""
    if reading.task.stored is None and size_and_time(reading.task.path) != (reading.size_bytes, reading.mtime_ns):
        raise Unreadable("read", "It changed while it was being read. Index it again when it is complete.")


def sha256_of(path: Path) -> str:
    """Of a file's bytes, in hex. Raises Unreadable."""
    digest = hashlib.sha256()
    with at_stage("read"), path.open("rb") as file:
        while block := file.read(HASH_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _is_known(reading: Reading, collection: Collection, options: IngestOptions) -> bool:
    """Whether the vectors of these bytes are in the collection already; says where in `reading`."""
    twin = collection.find_by_uri(reading.task.uri)
    if twin is None or twin.sha256 != reading.sha256:
        twin = collection.find_by_sha256(reading.sha256)
    if twin is None:
        return False
    sampled = (options.rate_for(twin.duration_seconds), options.sampling)
    if twin.kind == "video" and (twin.frames_per_second, twin.sampling) != sampled:
        return False
    task = reading.task
    named_alike = (twin.uri, twin.id, twin.name, twin.path) == (task.uri, task.item_id, task.name, task.path)
    if named_alike and task.metadata in (None, twin.metadata):
        reading.same = twin
        return True
    try:
        reading.twin = twin, collection.moments_of(twin.id)
        if keeps_pictures(collection, options):
            reading.pictures = collection.pictures.copied(twin.id)
    except NotFound:  # deleted between the two queries
        return False
    return True


@contextmanager
def at_stage(stage: Stage) -> Iterator[None]:
    """What media and files refuse within the block is Unreadable at that stage."""
    try:
        yield
    except (MediaError, NotFound) as error:
        raise Unreadable(stage, str(error)) from error
    except OSError as error:
        raise Unreadable(stage, f"{error.strerror or error}.") from error
