"""The numbers of matching that depend on the encoder's statistics, in one place, as one value that is passed in.

Measured with the shipped encoder by benchmarks/sureness.py and benchmarks/video.py. Another encoder needs others.
"""

from dataclasses import dataclass

from ...export.calibration import Curve

__all__ = ["DEFAULT_CALIBRATION", "Calibration", "Curve"]


@dataclass(frozen=True)
class Calibration:
    """Likeness is 0 for a cosine that any two frames of the collection have, 1 for identical frames (likeness.py).

    max_background    cosine: frames that are near the mean themselves are not asked to be nearer to each other
    same_shot         least likeness of two frames in a row of one shot
    same_frame        likeness from which an item holds the very frame
    same_footage      least likeness of stretches that are the same; below it they are only of one kind
    clearly_less      lead in likeness of another item beside which this one is no copy
    about_as_alike    difference in likeness within which two items are equally alike
    varied            1 - likeness of a stretch's frames among each other, from which it counts as moving
    still_confidence  share of its confidence that a still stretch without a rival keeps
    rerank_score      cosine of the best hit below which pixels are not compared
    rerank_tie        cosine: copies, and frames of a still scene, lie within it
    folded            cosine of frames in a row that share one stored vector (ingest/folding.py): of a frame encoded
                      anew to itself, and up; measured by benchmarks/folding.py
    frame, stretch    confidence from a frame's likeness, and from what alignment says of a stretch
    """

    max_background: float = 0.94
    same_shot: float = 0.6
    same_frame: float = 0.85
    same_footage: float = 0.7
    clearly_less: float = 0.25
    about_as_alike: float = 0.05
    varied: float = 0.1
    still_confidence: float = 0.65
    rerank_score: float = 0.9
    rerank_tie: float = 0.02
    folded: float = 0.9995
    frame: Curve = Curve(-4.75, 1.41, 0.005)
    stretch: Curve = Curve(-5.89, 11.50)


DEFAULT_CALIBRATION = Calibration()
