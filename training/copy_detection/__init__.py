"""Judging an encoder by copies: edited pictures and frames of clips, asked of a library that holds the originals.

Knows encoders as a function from pictures to vectors. Trains nothing; shares no code with training's augmentations.
"""

from .edits import EDITS, SIXTEEN, UNEDITED, edited
from .protocol import Embed, Half, Pictures, Prepared, half_of, judge, prepare
from .scores import CopyScores, EditScores, Figure

__all__ = [
    "EDITS",
    "SIXTEEN",
    "UNEDITED",
    "CopyScores",
    "EditScores",
    "Embed",
    "Figure",
    "Half",
    "Pictures",
    "Prepared",
    "edited",
    "half_of",
    "judge",
    "prepare",
]
