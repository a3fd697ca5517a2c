"""What is looked for: a picture, a region of it, a clip, an item or a vector; and what the encoder makes of it.

A file is decoded once: what is compared comes of the same decoding as what the encoder sees. Searches nothing.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRequest
from ...media.info import SNIFF_BYTES, MediaInfo, sniff_image
from ...media.informativeness import informativeness
from ...media.preprocess import enough_side, to_pixels
from ...media.reader import Source
from ...media.spec import InputSpec
from ..catalog import Moments
from ..collection import Collection
from ..matching import SHORT_SIDE
from .decoding import Decoded, decode, decode_moment, mirrored, picture_side
from .rectangles import film_within
from .regions import WHOLE, Region
from .shown import pixels_at
from .tools import Floats, Pixels, Tools

Target = Literal["frame", "clip"]
INSET_FRAMES = 16  # of a clip, in which a film within it is looked for

PictureAt = Callable[[float], NDArray[np.uint8]]  # (H, W, 3) at a second; raises MediaError


@dataclass(frozen=True, eq=False, kw_only=True)
class Query:
    """Exactly one of source, item_id and vector (D,) float32.

    region  the part of the source's pictures that is looked for
    start_seconds, end_seconds  the part of the source or the item, in time
    target  frame: each item's one best moment; clip: stretches aligned in time. By default a picture is looked for as
            a frame and a video as a clip. A frame with a start and no end is what is shown then, else the mean of all
    sha256  of the source, where it is known
    """

    source: Source | None = None
    item_id: str | None = None
    vector: Floats | None = None
    region: Region | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    target: Target | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        """Raises InvalidRequest for what contradicts itself."""
        given = sum(part is not None for part in (self.source, self.item_id, self.vector))
        if given != 1:
            raise InvalidRequest(f"Give exactly one file, item or vector to look for; got {given} of them.")
        first, last = self.start_seconds or 0.0, self.end_seconds
        if last is not None and last <= first:
            raise InvalidRequest(
                f"The end, {last:g} s, must come after the start, {first:g} s (end_seconds, start_seconds)."
            )
        if self.vector is not None and self.target == "clip":
            raise InvalidRequest("One embedding is one frame: target clip needs an item, an image or a file.")
        if self.region is not None and self.source is None:
            raise InvalidRequest("A region can only be looked for in a picture or a clip that is sent.")

    @property
    def is_moment(self) -> bool:
        """Whether it is the one frame that is shown at the start."""
        return self.target == "frame" and self.start_seconds is not None and self.end_seconds is None

    def digest(self) -> str:
        """A name for what is looked for, equal for equal queries."""
        part = self.region, self.start_seconds, self.end_seconds, self.target
        return f"{self._subject()} {part}"

    @cached_property
    def source_sha256(self) -> str:
        """Of the source."""
        if self.sha256 is not None:
            return self.sha256
        if isinstance(self.source, bytes):
            return hashlib.sha256(self.source).hexdigest()
        assert self.source is not None
        with self.source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def is_whole_file(self) -> bool:
        """Whether nothing but all of the source is looked for."""
        part = (self.region, self.start_seconds or None, self.end_seconds)
        return self.source is not None and all(each is None for each in part)

    def _subject(self) -> str:
        if self.item_id is not None:
            return f"item {self.item_id}"
        return self.source_sha256 if self.vector is None else digest_of(self.vector)


@dataclass(frozen=True, eq=False)
class EmbeddedQuery:
    """A query's frames as vectors (Q, D) float32, shown at seconds (Q,) float64 ascending.

    target       frame: one picture, the mean of the vectors; clip: frames in the order of time
    informative  (Q,) float32 in 0..1, near 0 for black and flat frames; None: all count the same
    mirrored     (Q, D) of a clip's frames with left and right exchanged; None where only vectors are known
    inset        (Q, D) of a film that runs within a clip's frames; None where there is none
    end_seconds  when the clip, or the part of it, ends; None where that is not known
    picture      (H, W, 3) uint8, the only frame of a file; None for a clip, an item and a vector
    picture_at   what the query shows at a second; None where there is no file
    region       of the picture that was sent: what is looked for
    sha256       of the file that is looked for, if that is the whole of it
    item_id      the item that the query was taken from: it is not its own answer
    """

    target: Target
    vectors: Floats
    seconds: NDArray[np.float64]
    informative: Floats | None = None
    mirrored: Floats | None = None
    inset: Floats | None = None
    end_seconds: float | None = None
    picture: NDArray[np.uint8] | None = None
    picture_at: PictureAt | None = None
    region: Region = WHOLE
    sha256: str | None = None
    item_id: str | None = None

    @property
    def as_frame(self) -> Floats:
        """The whole query as one vector (D,): the mean of its frames."""
        return np.asarray(self.vectors.mean(axis=0), np.float32)

    def digest(self) -> str:
        """As Query.digest."""
        return f"{self.target} {digest_of(self.vectors)} {digest_of(self.seconds)}"


def digest_of(numbers: NDArray[np.floating]) -> str:
    return hashlib.sha256(np.ascontiguousarray(numbers).tobytes()).hexdigest()


def embed_query(collection: Collection, query: Query, tools: Tools) -> EmbeddedQuery:
    """The query as the collection's model sees it. Raises NotFound, InvalidRequest, MediaError."""
    if query.vector is not None:
        return EmbeddedQuery("frame", query.vector[None], np.zeros(1))
    if query.item_id is not None:
        return _embedded_item(collection, query.item_id, query, tools)
    assert query.source is not None
    return _embedded_file(collection, query.source, query, tools)


def frames_between(moments: Moments, start_seconds: float = 0.0, end_seconds: float | None = None) -> Moments:
    """The frames shown from start_seconds on and before end_seconds; at least the one shown at the start."""
    if end_seconds is not None and end_seconds <= start_seconds:
        raise InvalidRequest(f"The end, {end_seconds:g} s, must come after the start, {start_seconds:g} s.")
    starts = moments.start_seconds
    # The frame that is shown at start_seconds begins at or before it.
    first = max(0, int(np.searchsorted(starts, start_seconds + 1e-3, side="right")) - 1)
    last = len(starts) if end_seconds is None else max(first + 1, int(np.searchsorted(starts, end_seconds)))
    return moments.part(first, last)


def _embedded_item(collection: Collection, item_id: str, query: Query, tools: Tools) -> EmbeddedQuery:
    """By the stored frames of the item."""
    item = collection.get(item_id)
    moments = frames_between(collection.moments_of(item.id), query.start_seconds or 0.0, query.end_seconds)
    if query.is_moment:
        moments = moments.part(0, 1)
    return EmbeddedQuery(
        query.target or ("clip" if item.kind == "video" else "frame"),
        moments.vectors,
        moments.start_seconds,
        moments.informative,
        end_seconds=float(moments.end_seconds[-1]),
        picture_at=lambda seconds: pixels_at(collection, item.id, seconds, tools),
        sha256=item.sha256 if item.kind == "image" else None,
        item_id=item.id,
    )


def _embedded_file(collection: Collection, source: Source, query: Query, tools: Tools) -> EmbeddedQuery:
    with tools.stage("decode_ms"):
        decoded = _decoded(collection, source, query, tools)
        is_clip = (query.target or ("clip" if decoded.info.kind == "video" else "frame")) == "clip"
        batches = [decoded.pixels, *([mirrored(decoded.pixels), *_inset(decoded, collection.spec)] if is_clip else [])]
    vectors, *others = tools.embed(batches)
    return EmbeddedQuery(
        "clip" if is_clip else "frame",
        vectors,
        decoded.seconds,
        informativeness(decoded.pixels) if is_clip else None,
        mirrored=others[0] if is_clip else None,
        inset=others[1] if len(others) > 1 else None,
        end_seconds=_end_of(decoded.info, query.end_seconds),
        picture=decoded.picture,
        picture_at=lambda seconds: decoded.frame(int(np.abs(decoded.seconds - seconds).argmin())),
        region=query.region or WHOLE,
        sha256=query.source_sha256 if query.is_whole_file else None,
    )


def _decoded(collection: Collection, source: Source, query: Query, tools: Tools) -> Decoded:
    spec = collection.spec
    if query.is_moment:
        return decode_moment(source, spec, query.start_seconds or 0.0, tools, query.region)
    # A file that begins like a picture is one, or a short animation.
    is_single = query.target == "frame" or sniff_image(_first_bytes(source)) is not None
    return decode(
        source,
        spec,
        tools,
        start_seconds=query.start_seconds or 0.0,
        end_seconds=query.end_seconds,
        shorter_side=picture_side(spec) if is_single else max(enough_side(spec), SHORT_SIDE),
        region=query.region,
        keep=query.target != "frame",
    )


def _inset(decoded: Decoded, spec: InputSpec) -> list[Pixels]:
    """The film that runs within the frames of a clip, as pixels (T, S, S, 3); nothing where there is none."""
    count = len(decoded.jpegs)
    looked_at = np.unique(np.linspace(0, count - 1, min(count, INSET_FRAMES)).astype(np.int64)).tolist()
    where = film_within([decoded.frame(place) for place in looked_at])
    if where is None:
        return []
    return [np.concatenate([to_pixels(where.cut_from(decoded.frames(place)), spec) for place in range(count)])]


def _first_bytes(source: Source) -> bytes:
    """What tells a picture from a video; nothing of a file that cannot be read, as the decoder says why."""
    if isinstance(source, bytes):
        return source[:SNIFF_BYTES]
    try:
        if not source.is_file():  # a pipe would wait
            return b""
        with source.open("rb") as file:
            return file.read(SNIFF_BYTES)
    except (OSError, ValueError):
        return b""


def _end_of(info: MediaInfo, end_seconds: float | None) -> float | None:
    """When the part of a video up to end_seconds (None: all) ends; None for a picture or an unknown duration."""
    if info.kind == "image" or info.duration_seconds <= 0:
        return None
    return info.duration_seconds if end_seconds is None else min(end_seconds, info.duration_seconds)
