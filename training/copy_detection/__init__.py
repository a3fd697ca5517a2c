"""Judging an encoder by copies: edited pictures and frames of clips, asked of a library that holds the originals.

Knows encoders as a function from pictures to vectors. Trains nothing; shares no code with training's augmentations.
"""

from .clips import FEWEST_CLIPS, FRAME_EDITS, ClipScores, FrameScores, PreparedClips, judge_clips, prepare_clips
from .edits import EDITS, SIXTEEN, UNEDITED, edited
from .files import PictureFiles, read_set
from .protocol import FEWEST_PICTURES, Embed, Half, Pictures, Prepared, embed_with, half_of, judge, prepare
from .scores import CopyScores, EditScores, Figure

__all__ = [
    "EDITS",
    "FEWEST_CLIPS",
    "FEWEST_PICTURES",
    "FRAME_EDITS",
    "SIXTEEN",
    "UNEDITED",
    "ClipScores",
    "CopyScores",
    "EditScores",
    "Embed",
    "Figure",
    "FrameScores",
    "Half",
    "PictureFiles",
    "Pictures",
    "Prepared",
    "PreparedClips",
    "edited",
    "embed_with",
    "half_of",
    "judge",
    "judge_clips",
    "prepare",
    "prepare_clips",
    "read_set",
]
