"""Ours and three plain rivals, on the same sampled frames: a query's frames in, segments of the library out.

The rivals are given what they do not have by nature, a segment: the stretch that their match implies. Hashes are
imagehash.phash of 64 bits for single frames, and of 256 bits with vPDQ's rule (a frame matches within 31 bits) for bags
of frames; the mean clip vector slides over each video in a window of the query's length.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import imagehash
import numpy as np
from helpers.segment_metric import Box
from numpy.typing import NDArray
from PIL import Image

from vicmae.export.bundle import read_manifest
from vicmae.export.calibration import UNCALIBRATED
from vicmae.export.engine import Engine
from vicmae.index.catalog.items import NewItem, default_item_id
from vicmae.index.collection import Collection
from vicmae.index.library import Library
from vicmae.index.search import EmbeddedQuery, Hit, SearchRequest, Tools, film_within, mirrored, search
from vicmae.media.informativeness import informativeness
from vicmae.media.preprocess import to_pixels
from vicmae.media.reader import frame_at, probe, read_frames
from vicmae.settings import SHIPPED_BUNDLE

LIMIT = 10  # videos that a method names for a query
VPDQ_BITS = 31  # of 256: two frames at most so far apart match


@dataclass(frozen=True)
class Seen:
    """Sampled frames of one file: vectors (T, D), a query's mirrored ones and those of an inset too (else the same),
    hashes (T, 64), (T, 256) of bits. path: the file; none where several were joined."""

    path: Path
    vectors: NDArray[np.float32]
    mirrored: NDArray[np.float32]
    inset: NDArray[np.float32]
    seconds: NDArray[np.float64]
    informative: NDArray[np.float32]
    hashes: NDArray[np.bool_]
    long_hashes: NDArray[np.bool_]
    duration_seconds: float

    def every(self, step: int) -> "Seen":
        """Each step-th frame."""
        return self._cut(slice(None, None, step), self.duration_seconds)

    def first(self, frames: int) -> "Seen":
        return self._cut(slice(frames), float(self.seconds[min(frames, len(self.seconds)) - 1]))

    def _cut(self, part: slice, duration_seconds: float) -> "Seen":
        names = ("vectors", "mirrored", "inset", "seconds", "informative", "hashes", "long_hashes")
        return replace(self, **{name: getattr(self, name)[part] for name in names}, duration_seconds=duration_seconds)

    @staticmethod
    def joined(parts: "list[Seen]") -> "Seen":
        """One after the other."""
        begins = np.cumsum([0.0, *(part.duration_seconds for part in parts)])
        names = ("vectors", "mirrored", "inset", "informative", "hashes", "long_hashes")
        together = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        seconds = np.concatenate([part.seconds + begin for part, begin in zip(parts, begins, strict=False)])
        return Seen(Path(), **together, seconds=seconds, duration_seconds=float(begins[-1]))

    @property
    def ends(self) -> NDArray[np.float64]:
        return np.append(self.seconds[1:], max(self.duration_seconds, self.seconds[-1] + 1e-3))


@dataclass(frozen=True)
class Answer:
    box: Box
    score: float


Ask = Callable[[Seen], list[Answer]]
Videos = dict[str, Seen]


def read_seen(engine: Engine, path: Path, fps: float, kept: Path, is_query: bool = False) -> Seen:
    """Decodes, embeds and hashes a file once; the next time it is read from `kept`.

    Only queries are also mirrored and looked within.
    """
    file = kept / f"{engine.fingerprint[:8]}-{path.parent.name}-{path.name}.npz"
    if not file.exists():
        frames = list(read_frames(path, fps))
        pixels = np.concatenate([to_pixels(chunk, engine.spec) for chunk in frames])
        seconds = np.concatenate([chunk.seconds for chunk in frames])
        every = [picture for chunk in frames for picture in chunk.data]
        where = film_within(every[:: -(-len(every) // 16)]) if is_query else None
        within = [] if where is None else [to_pixels(where.cut_from(chunk), engine.spec) for chunk in frames]
        pictures = [Image.fromarray(picture) for chunk in frames for picture in chunk.data]
        np.savez(
            file,
            vectors=(vectors := engine.embed(pixels)),
            mirrored=engine.embed(mirrored(pixels)) if is_query else vectors,
            inset=engine.embed(np.concatenate(within)) if within else vectors,
            seconds=seconds,
            informative=informativeness(pixels),
            hashes=np.stack([imagehash.phash(picture).hash.ravel() for picture in pictures]),
            long_hashes=np.stack([imagehash.phash(picture, hash_size=16).hash.ravel() for picture in pictures]),
            duration_seconds=max(probe(path).duration_seconds, seconds[-1] + 1 / fps),
        )
    with np.load(file) as held:
        values = {name: held[name] for name in held.files}
    return Seen(path, **{**values, "duration_seconds": float(values["duration_seconds"])})


def our_library(store: Library, engine: Engine, videos: Videos) -> Collection:
    """The videos as a collection, from their vectors."""
    collection = store.create("videos", engine)
    for name, seen in videos.items():
        uri = f"file:///{name}"
        collection.add(
            NewItem(
                id=default_item_id(uri), uri=uri, name=name, path=seen.path, sha256=name, kind="video",
                mime="video/mp4", size_bytes=1, mtime_ns=0, width=1, height=1, frames_per_second=1.0,
                duration_seconds=seen.duration_seconds, vectors=seen.vectors, start_seconds=seen.seconds,
                end_seconds=seen.ends, informative=seen.informative,
            )
        )  # fmt: skip
    return collection


def ours(collection: Collection, videos: Videos) -> Ask:
    """What `vicmae search` answers: by vectors, the likeliest stretches then looked at."""
    return lambda query: _answers(_found(collection, query, verify=True))


def by_vectors(collection: Collection, videos: Videos) -> Ask:
    """The same with verify=false."""
    return lambda query: _answers(_found(collection, query, verify=False))


def _found(collection: Collection, query: Seen, verify: bool) -> list[Hit]:
    embedded = EmbeddedQuery(
        "clip",
        query.vectors,
        query.seconds,
        query.informative,
        query.mirrored,
        None if np.array_equal(query.inset, query.vectors) else query.inset,
        query.duration_seconds,
        picture_at=lambda seconds: frame_at(query.path, seconds).data[0],
    )
    calibration = read_manifest(SHIPPED_BUNDLE).calibration or UNCALIBRATED
    return search(collection, SearchRequest(embedded, LIMIT, verify=verify), Tools(calibration=calibration)).hits


def _answers(hits: list[Hit]) -> list[Answer]:
    return [
        Answer(
            Box(h.item.name, s.query_start_seconds, s.query_end_seconds, s.start_seconds, s.end_seconds),
            s.score if s.confidence is None else s.confidence,
        )
        for h in hits
        for s in h.segments
    ]


def best_frame(collection: Collection, videos: Videos) -> Ask:
    """The two frames of least Hamming distance; the query is laid where they meet."""

    def ask(query: Seen) -> list[Answer]:
        answers = []
        for name, video in videos.items():
            distance = _hamming(query.hashes, video.hashes)
            row, column = np.unravel_index(distance.argmin(), distance.shape)
            offset = float(video.seconds[column] - query.seconds[row])
            answers.append(Answer(_laid(name, query, video, offset), -float(distance[row, column])))
        return _best(answers)

    return ask


def bag_of_frames(collection: Collection, videos: Videos) -> Ask:
    """The share of the query's frames that match any frame; from the first match to the last, on both sides."""

    def ask(query: Seen) -> list[Answer]:
        answers = []
        for name, video in videos.items():
            match = _hamming(query.long_hashes, video.long_hashes) <= VPDQ_BITS
            rows, columns = np.flatnonzero(match.any(axis=1)), np.flatnonzero(match.any(axis=0))
            if len(rows):
                box = Box(
                    name,
                    float(query.seconds[rows[0]]),
                    float(query.ends[rows[-1]]),
                    float(video.seconds[columns[0]]),
                    float(video.ends[columns[-1]]),
                )
                answers.append(Answer(box, len(rows) / len(query.seconds)))
        return _best(answers)

    return ask


def mean_vector(collection: Collection, videos: Videos) -> Ask:
    """The mean of the query's vectors against that of every window of its length."""

    def ask(query: Seen) -> list[Answer]:
        wanted = _unit(query.vectors.mean(axis=0))
        answers = []
        for name, video in videos.items():
            length = min(len(query.vectors), len(video.vectors))
            sums = np.cumsum(np.vstack([np.zeros(video.vectors.shape[1]), video.vectors]), axis=0)
            cosines = _unit(sums[length:] - sums[:-length]) @ wanted
            first = int(cosines.argmax())
            box = _laid(name, query, video, float(video.seconds[first]))
            answers.append(Answer(box, float(cosines[first])))
        return _best(answers)

    return ask


METHODS: dict[str, Callable[[Collection, Videos], Ask]] = {
    "ours": ours,
    "ours, vectors alone": by_vectors,
    "best single frame": best_frame,
    "bag of frame hashes": bag_of_frames,
    "mean clip vector": mean_vector,
}


def _laid(name: str, query: Seen, video: Seen, offset: float) -> Box:
    """The whole query beginning at second `offset` of the video, as far as the video reaches."""
    start, end = max(0.0, offset), min(video.duration_seconds, offset + query.duration_seconds)
    return Box(name, start - offset, end - offset, start, end)


def _hamming(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(Q, B), (T, B) bits -> (Q, T) how many differ."""
    x, y = a.astype(np.float32), b.astype(np.float32)
    return np.asarray(np.rint(x.sum(axis=1)[:, None] + y.sum(axis=1)[None] - 2 * x @ y.T), np.int64)


def _unit(vectors: NDArray[np.float64] | NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float64)


def _best(answers: list[Answer]) -> list[Answer]:
    return sorted(answers, key=lambda answer: -answer.score)[:LIMIT]
