"""Clips: parts of clips, edited and joined, asked of the product; is the right stretch found, and how surely?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ...media.decoding import Decoder
from ...media.edits import CLIP_EDITS, Half, compilation, edited_clip, half_of, shuffled
from ...media.limits import MediaLimits
from ..paths import file_uri
from .ask import Ask, Hit, Question
from .judge import CANDIDATES, HITS, SURE
from .material import Material
from .moments import SameMoment

COMPILATION = "compilation"
EDITS = (*CLIP_EDITS, COMPILATION)
SHORTEST, LONGEST = 4.0, 10.0  # seconds of a part
PARTS = 3  # of a compilation, each of another clip
RATE = 15.0  # frames per second of what is asked
SIDE = 480  # pixels, as of stills
SECONDS_OFF = 1.0  # by which both ends of a stretch may be off


@dataclass(frozen=True)
class Part:
    """A stretch of the asked clip, and the stretch of the indexed clip that it shows; seconds."""

    path: Path
    query_start_seconds: float
    query_end_seconds: float
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, eq=False)
class AskedClip:
    edit: str
    name: str
    data: bytes
    parts: list[Part]


@dataclass(frozen=True)
class ClipAnswer:
    """What was answered of one part of an asked clip.

    item        whether its clip is among the first hits, as many as the asked clip has parts
    stretch     whether the stretch found there begins and ends where it was cut out
    candidate   whether its clip is among CANDIDATES hits by vectors alone
    confidence  of that hit; None: there is none, or not calibrated
    wrong_and_sure  whether one of those first hits is no part of the asked clip, with SURE confidence
    seconds     from the question to the verified answer
    """

    edit: str
    name: str
    item: bool
    stretch: bool
    candidate: bool
    confidence: float | None
    wrong_and_sure: bool
    seconds: float

    @property
    def sure(self) -> bool:
        return self.confidence is not None and self.confidence >= SURE


@dataclass(frozen=True, eq=False)
class _Cut:
    """A part cut out of a clip: frames (T, H, W, 3) uint8, RATE a second."""

    name: str
    path: Path
    frames: NDArray[np.uint8]
    start_seconds: float
    end_seconds: float


def draw_clips(
    material: Material,
    count: int,
    half: Half | None,
    seed: int,
    decoder: Decoder,
    limits: MediaLimits,
    edits: Sequence[str] = EDITS,
) -> Iterator[AskedClip]:
    """`count` clips for each edit: a part of each; compilations with parts of the next two clips."""
    names = [name for name in shuffled(material.clips, seed) if half in (None, half_of(name))][:count]
    for place, name in enumerate(names):
        own = _cut(name, material.clips[name], seed, decoder, limits)
        for edit in edits:
            if edit != COMPILATION:
                yield _edited(edit, own, seed)
            elif len(names) >= PARTS:
                others = [names[(place + step) % len(names)] for step in range(1, PARTS)]
                cuts = [_cut(other, material.clips[other], seed, decoder, limits) for other in others]
                yield _compilation([cuts[0], own, *cuts[1:]], name)


def _cut(name: str, path: Path, seed: int, decoder: Decoder, limits: MediaLimits) -> _Cut:
    """SHORTEST to LONGEST seconds, all of a clip that is shorter."""
    dice = np.random.default_rng((seed, crc32(name.encode())))
    duration = decoder.probe(path, limits).duration_seconds
    length = dice.uniform(min(SHORTEST, duration), min(LONGEST, duration))
    start = dice.uniform(0, duration - length)
    frames = frames_of(path, start, start + length, decoder, limits)
    return _Cut(name, path, frames, start, start + len(frames) / RATE)


def frames_of(
    path: Path, start_seconds: float, end_seconds: float, decoder: Decoder, limits: MediaLimits
) -> NDArray[np.uint8]:
    """What a clip shows from start to end, (T, H, W, 3) uint8, RATE a second; a slower clip's frames are repeated."""
    read = list(
        decoder.read_frames(path, RATE, limits, start_seconds=start_seconds, end_seconds=end_seconds, shorter_side=SIDE)
    )
    seconds = np.concatenate([frames.seconds for frames in read])
    ticks = start_seconds + np.arange(max(1, round((end_seconds - start_seconds) * RATE))) / RATE
    shown = np.searchsorted(seconds, ticks + 0.5 / RATE, side="right") - 1
    return np.concatenate([frames.data for frames in read])[np.maximum(shown, 0)]


def _edited(edit: str, cut: _Cut, seed: int) -> AskedClip:
    data, lasts = edited_clip(edit, cut.frames, RATE, cut.name, seed)
    return AskedClip(edit, cut.name, data, [Part(cut.path, 0.0, lasts, cut.start_seconds, cut.end_seconds)])


def _compilation(cuts: Sequence[_Cut], name: str) -> AskedClip:
    parts, at = [], 0.0
    for cut in cuts:
        ends = at + len(cut.frames) / RATE
        parts.append(Part(cut.path, at, ends, cut.start_seconds, cut.end_seconds))
        at = ends
    return AskedClip(COMPILATION, name, compilation([cut.frames for cut in cuts], RATE), parts)


def judge_clip(ask: Ask, asked: AskedClip, same: SameMoment) -> list[ClipAnswer]:
    """An answer for each part of the asked clip."""
    began = perf_counter()
    hits = ask(Question(asked.data, HITS))
    seconds = perf_counter() - began
    candidates = {hit["uri"] for hit in ask(Question(asked.data, CANDIDATES, verified=False))}
    first = {hit["uri"]: hit for hit in hits[: len(asked.parts)]}
    right = {file_uri(part.path) for part in asked.parts}
    wrong = any((hit["confidence"] or 0.0) >= SURE for uri, hit in first.items() if uri not in right)
    answers = []
    for part in asked.parts:
        hit = first.get(file_uri(part.path))
        answers.append(
            ClipAnswer(
                asked.edit,
                asked.name,
                hit is not None,
                hit is not None and _is_stretch(hit, part, same),
                file_uri(part.path) in candidates,
                None if hit is None else hit["confidence"],
                wrong,
                seconds,
            )
        )
    return answers


def _is_stretch(hit: Hit, part: Part, same: SameMoment) -> bool:
    """Whether the hit's best segment is the part, in the asked clip and in the indexed one."""
    segment = hit["segments"][0]
    ends = ("query_start_seconds", "query_end_seconds")
    return all(abs(segment[end] - getattr(part, end)) <= SECONDS_OFF for end in ends) and all(
        same(part.path, getattr(part, end), segment[end], SECONDS_OFF) for end in ("start_seconds", "end_seconds")
    )
