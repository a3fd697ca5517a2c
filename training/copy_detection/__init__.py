"""Judging an encoder by copies: edited pictures and frames of clips, asked of a library that holds the originals.

Knows encoders as a function from pictures to vectors. Trains nothing; the edits are those of media/edits.
"""

from .clips import FEWEST_CLIPS, FRAME_EDITS, ClipScores, FrameScores, PreparedClips, judge_clips, prepare_clips
from .files import PictureFiles, read_set
from .protocol import FEWEST_PICTURES, Embed, Pictures, Prepared, embed_with, judge, prepare
from .scores import CopyScores, EditScores, Figure

__all__ = [
    "FEWEST_CLIPS",
    "FEWEST_PICTURES",
    "FRAME_EDITS",
    "ClipScores",
    "CopyScores",
    "EditScores",
    "Embed",
    "Figure",
    "FrameScores",
    "PictureFiles",
    "Pictures",
    "Prepared",
    "PreparedClips",
    "embed_with",
    "judge",
    "judge_clips",
    "prepare",
    "prepare_clips",
    "read_set",
]
