"""Stills: the pictures that are asked, photos and frames of clips alike, and strangers. Drawn by name and seed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zlib import crc32

import numpy as np

from ...media.decoding import Decoder
from ...media.edits import Half, half_of, shrunk, shuffled
from ...media.frames import Picture
from ...media.informativeness import informativeness
from ...media.limits import MediaLimits
from ...media.preprocess import to_pixels
from ...media.spec import InputSpec
from ..paths import file_uri
from .material import Material

SIDE = 480  # pictures are edited and asked with a short side of at most so many pixels
TELLING = 0.2  # least informativeness of a frame that is asked: nobody can tell where a black frame was seen
DRAWS = 8  # of a clip for one frame that tells something
SMALL = InputSpec(size=64, patch=64, dim=1, fit="squash")

Kind = Literal["photo", "frame", "stranger"]


@dataclass(frozen=True, eq=False)
class Still:
    """A picture (H, W, 3) uint8 RGB that is edited and asked; of the file and the second where it was seen.

    name  throws the dice of its edits
    path  None: in no file of the index
    """

    name: str
    kind: Kind
    picture: Picture
    path: Path | None
    seconds: float = 0.0

    @property
    def uri(self) -> str | None:
        return None if self.path is None else file_uri(self.path)


def draw_stills(
    material: Material, queries: int, half: Half | None, seed: int, decoder: Decoder, limits: MediaLimits
) -> list[Still]:
    """`queries` pictures: photos and, where there are clips, as many frames at any second of them."""
    photos = _drawn(material.photos, half, seed)
    clips = _drawn(material.clips, half, seed)
    of_photos = queries - queries // 2 if clips else queries
    asked = [Still(name, "photo", picture_of(path, decoder, limits), path) for name, path in photos[:of_photos]]
    turn = 0
    while clips and len(asked) < queries and turn < DRAWS:
        for name, path in clips[: queries - len(asked)]:
            still = _any_frame(f"{name} {turn}", path, seed, decoder, limits)
            asked += [] if still is None else [still]
        turn += 1
    return asked


def draw_strangers(
    material: Material, count: int, half: Half | None, seed: int, decoder: Decoder, limits: MediaLimits
) -> list[Still]:
    """`count` of the photos that are not indexed."""
    drawn = _drawn(material.strangers, half, seed)[:count]
    return [Still(name, "stranger", picture_of(path, decoder, limits), None) for name, path in drawn]


def picture_of(path: Path, decoder: Decoder, limits: MediaLimits) -> Picture:
    """A photo (H, W, 3) uint8 RGB, with a short side of at most SIDE."""
    frames = next(decoder.read_frames(path, 1.0, limits, shorter_side=SIDE))
    return shrunk(frames.data[0], SIDE)


def _any_frame(name: str, path: Path, seed: int, decoder: Decoder, limits: MediaLimits) -> Still | None:
    """A frame of the clip that shows something; None: DRAWS of them do not."""
    dice = np.random.default_rng((seed, crc32(name.encode())))
    duration_seconds = decoder.probe(path, limits).duration_seconds
    for _ in range(DRAWS):
        frames = decoder.frame_at(path, float(dice.uniform(0, duration_seconds)), limits, SIDE)
        if informativeness(to_pixels(frames, SMALL))[0] >= TELLING:
            return Still(name, "frame", shrunk(frames.data[0], SIDE), path, float(frames.seconds[0]))
    return None


def _drawn(files: dict[str, Path], half: Half | None, seed: int) -> list[tuple[str, Path]]:
    return [(name, files[name]) for name in shuffled(files, seed) if half in (None, half_of(name))]
