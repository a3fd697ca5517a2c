"""Frames of clips, edited, asked of a library of those clips at 2 frames a second, by vectors alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ...errors import TrainingError
from ...media.edits import UNEDITED, Half, edited, half_of, shrunk, shuffled
from ...media.frames import Picture
from ...media.reader import Source, frame_at, probe, read_frames
from .files import SIDE
from .protocol import Embed, Embedder, Report
from .scores import Figure, mean_of

FRAMES_PER_SECOND = 2.0
NEAR_SECONDS = 1.0
FRAME_EDITS = (UNEDITED, "crop 50 %", "jpeg 20", "mirrored", "colours", "text", "screenshot", "phone photo")
STRANGERS = 8
FEWEST_CLIPS = 2 * STRANGERS

Clips = Mapping[str, Source]


@dataclass(frozen=True)
class PreparedClips:
    """The clips that are looked in, and the frames that are asked: of which clip, at which second, after each edit."""

    library: Clips
    names: list[str]
    seconds: NDArray[np.float64]
    asked: dict[str, list[Picture]]


@dataclass(frozen=True)
class FrameScores:
    """Of each asked frame whether its clip came first, and whether with a frame at most a second from it. (asked,)"""

    clip: NDArray[np.bool_]
    moment: NDArray[np.bool_]

    def to_dict(self) -> dict[str, Any]:
        return {"clip": mean_of(self.clip).to_dict(), "clip and second": mean_of(self.moment).to_dict()}


@dataclass(frozen=True)
class ClipScores:
    """By edit of FRAME_EDITS; and over all of them, where the error is over frames."""

    by_edit: dict[str, FrameScores]

    @property
    def clip(self) -> Figure:
        return mean_of(np.mean([scores.clip for scores in self.by_edit.values()], axis=0))

    @property
    def moment(self) -> Figure:
        return mean_of(np.mean([scores.moment for scores in self.by_edit.values()], axis=0))

    def to_dict(self) -> dict[str, Any]:
        return {
            "clip": self.clip.to_dict(),
            "clip and second": self.moment.to_dict(),
            "edits": {edit: scores.to_dict() for edit, scores in self.by_edit.items()},
        }


def prepare_clips(
    clips: Clips,
    *,
    queries: int = 100,
    half: Half | None = None,
    edits: Sequence[str] = FRAME_EDITS,
    seed: int = 0,
) -> PreparedClips:
    """One frame of each of `queries` clips, at any second of it, after each edit.

    Some clips are taken out of the library: their frames are the grounds that some edits need. TrainingError where too
    few clips are there.
    """
    order = shuffled(clips, seed)
    apart, rest = order[-STRANGERS:], order[:-STRANGERS]
    names = [name for name in rest if half in (None, half_of(name))][:queries]
    if len(clips) < FEWEST_CLIPS or not names:
        raise TrainingError(f"{len(clips)} clips are too few to be asked; give at least {FEWEST_CLIPS}.")
    dice = np.random.default_rng((seed, 2))
    others = [_any_frame(clips[name], dice)[0] for name in apart]
    drawn = [_any_frame(clips[name], dice) for name in names]
    frames = [frame for frame, _ in drawn]
    asked = {
        edit: [edited(edit, frame, name, others, seed) for frame, name in zip(frames, names, strict=True)]
        for edit in edits
    }
    library = {name: clips[name] for name in clips if name not in set(apart)}
    return PreparedClips(library, names, np.array([seconds for _, seconds in drawn]), asked)


def _any_frame(clip: Source, dice: Generator) -> tuple[Picture, float]:
    """A frame, and when it is shown."""
    frames = frame_at(clip, float(dice.uniform(0, probe(clip).duration_seconds or 0.0)), shorter_side=SIDE)
    return shrunk(frames.data[0], SIDE), float(frames.seconds[0])


def judge_clips(embed: Embed, prepared: PreparedClips, report: Report = lambda done: None) -> ClipScores:
    """Embeds the clips and the asked frames; the answer to a frame is the nearest frame of all clips."""
    embedder = Embedder(embed, report)
    owners: list[str] = []
    seconds: list[float] = []
    parts = []
    for name, clip in prepared.library.items():
        for frames in read_frames(clip, FRAMES_PER_SECOND, shorter_side=SIDE):
            parts.append(embedder(shrunk(frame, SIDE) for frame in frames.data))
            owners += [name] * len(frames)
            seconds += frames.seconds.tolist()
    library, of_clip, at = np.concatenate(parts), np.array(owners), np.array(seconds)
    by_edit = {}
    for edit, pictures in prepared.asked.items():
        nearest = (embedder(pictures) @ library.T).argmax(axis=1)
        clip_right = of_clip[nearest] == np.array(prepared.names)
        near = np.abs(at[nearest] - prepared.seconds) <= NEAR_SECONDS
        by_edit[edit] = FrameScores(clip_right, clip_right & near)
    return ClipScores(by_edit)
