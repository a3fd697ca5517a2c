"""Material: a sample of a person's photos and clips, read and embedded once."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import MediaError, NotFound
from ...export.engine import Engine
from ...media.decoding import Decoder
from ...media.frames import Frames
from ...media.info import MediaInfo
from ...media.informativeness import informativeness
from ...media.limits import MediaLimits
from ...media.preprocess import enough_side, to_pixels
from ...media.sampling import sample_ends
from ..catalog import Item, Moments
from ..pictures import to_jpeg

MAX_PHOTOS, MAX_CLIPS = 200, 40
CLIP_SECONDS = 60.0  # of a clip that are read
FRAMES_PER_SECOND = 2.0  # as clips are indexed by default
ASKED_OF_A_CLIP = 4  # frames, at random seconds
TELLING = 0.2  # least informativeness of a picture that is asked for: a black frame is like any other
SMALL = 160  # shorter side of the pictures that are kept to tell copies apart

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Source:
    """A picture that will be edited and asked for: of the file at this place, shown at this second."""

    owner: int
    seconds: float
    picture: Picture


@dataclass(frozen=True)
class Material:
    """What was read. items and moments (of the same files) as a collection would hold them, not folded.

    small   for each file the T small pictures of its frames, JPEG, to tell copies apart
    """

    items: list[Item]
    moments: list[Moments]
    small: list[list[bytes]]
    sources: list[Source]
    unreadable: int

    @property
    def clips(self) -> list[int]:
        """The places of the videos."""
        return [place for place, item in enumerate(self.items) if item.kind == "video"]

    @property
    def photos(self) -> int:
        return len(self.items) - len(self.clips)


def read_material(
    files: Sequence[Path],
    engine: Engine,
    decoder: Decoder,
    limits: MediaLimits,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Material:
    """At most MAX_PHOTOS and MAX_CLIPS of the files, drawn at random, always the same ones. Bad files are counted."""
    dice = random.Random(0)
    drawn = sorted(files)
    dice.shuffle(drawn)
    material = Material([], [], [], [], 0)
    left = {"image": MAX_PHOTOS, "video": MAX_CLIPS}
    total, unreadable = min(len(drawn), MAX_PHOTOS + MAX_CLIPS), 0
    for path in drawn:
        if not any(left.values()):
            break
        try:
            info = decoder.probe(path, limits)
            if left[info.kind]:
                _take(material, path, info, engine, decoder, limits, dice)
                left[info.kind] -= 1
        except (MediaError, NotFound):
            unreadable += 1
        on_progress(min(len(material.items) + unreadable, total), total)
    return Material(material.items, material.moments, material.small, material.sources, unreadable)


def _take(
    material: Material,
    path: Path,
    info: MediaInfo,
    engine: Engine,
    decoder: Decoder,
    limits: MediaLimits,
    dice: random.Random,
) -> None:
    """Adds one file and the pictures that will be asked of it. Raises MediaError before anything was added."""
    side = max(enough_side(engine.spec), SMALL)
    end = CLIP_SECONDS if info.kind == "video" else None
    small: list[bytes] = []
    pixels, seconds, first = [], [], None
    for frames in decoder.read_frames(path, FRAMES_PER_SECOND, limits, end_seconds=end, shorter_side=side):
        pixels.append(to_pixels(frames, engine.spec))
        seconds.append(frames.seconds)
        small += [_small(picture) for picture in frames.data]
        first = frames.data[0] if first is None else first
    assert first is not None  # read_frames gives at least one picture, or raises
    shown, inputs = np.concatenate(seconds), np.concatenate(pixels)
    lasts = max(min(info.duration_seconds, CLIP_SECONDS), float(shown[-1]) + 1 / FRAMES_PER_SECOND)
    pictures = [(0.0, first)]
    if info.kind == "video":
        pictures = []
        for second in (dice.uniform(0, lasts) for _ in range(ASKED_OF_A_CLIP)):
            frame = decoder.frame_at(path, second, limits, side)
            pictures.append((float(frame.seconds[0]), frame.data[0]))
    telling = [
        (second, picture)
        for second, picture in pictures
        if informativeness(to_pixels(Frames(picture[None], np.zeros(1)), engine.spec))[0] >= TELLING
    ]
    ends = sample_ends(shown, lasts) if info.kind == "video" else np.zeros(1)
    place = len(material.items)
    material.items.append(_item(path, info, lasts if info.kind == "video" else 0.0, len(shown)))
    material.moments.append(Moments(engine.embed(inputs), shown, ends, informativeness(inputs)))
    material.small.append(small)
    material.sources.extend(Source(place, second, picture) for second, picture in telling)


def _item(path: Path, info: MediaInfo, duration_seconds: float, frames: int) -> Item:
    return Item(
        id=str(path),
        uri=path.resolve().as_uri(),
        name=path.name,
        path=path,
        sha256="",
        kind=info.kind,
        mime=info.mime,
        size_bytes=0,
        width=info.width,
        height=info.height,
        duration_seconds=duration_seconds,
        frames_per_second=FRAMES_PER_SECOND,
        sampling="rate",
        frames=frames,
        metadata={},
        created_at="",
    )


def _small(picture: Picture) -> bytes:
    import cv2

    scale = min(1.0, SMALL / min(picture.shape[:2]))
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    return to_jpeg(np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8))
