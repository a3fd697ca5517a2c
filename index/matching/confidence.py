"""How sure is a hit: what vectors say, and what pixels say where they were looked at, as a chance in 0..1.

Curves of one input each, learned by benchmarks/sureness.py on edited copies among other pictures and films, and judged
there on others. Arithmetic; opens nothing.
"""

from math import exp, log

from .evidence import Evidence

SURE = 0.5  # from here on a hit is more likely right than not
CERTAIN = 0.999  # no chance is 0 or 1, so that it has odds


def of_frame(likeness: float, pixels: float | None = None) -> float:
    """The chance that a frame shows the very picture that was asked for, or a copy of it.

    likeness  by vectors: 0 as any two frames of the collection, 1 identical
    pixels    correlation with the query, -1..1, where it was looked at: then likeness adds nothing
    """
    if pixels is not None:
        return _logistic(_of_pixels(pixels))
    return _logistic(-4.75 + 1.41 * _nearness(likeness, 0.005))


def of_stretch(likely: float) -> float:
    """The chance that two stretches show the same footage. likely: what align.align says by vectors alone, 0..1."""
    return _logistic(-5.89 + 11.50 * likely)


def with_pixels(chance: float, evidence: Evidence) -> float:
    """The chance of of_stretch, now that pixels of both stretches were compared as well.

    That the same things move at the same time speaks for itself; so does a part of a picture found within the other.
    Where nothing moves, pixels that agree say no more than the vectors did, and only those that do not say something.
    """
    odds = log(chance / (1 - chance))
    if evidence.motion is not None:
        return _logistic(odds - 2.5 + 5.0 * evidence.motion)
    if evidence.variant in ("crop", "letterbox"):
        return _logistic(odds + 4.0)
    return _logistic(odds + min(0.0, _of_pixels(evidence.pixels)))


def _of_pixels(correlation: float) -> float:
    return -4.50 + 2.11 * _nearness(correlation, 0.02)


def _nearness(agreement: float, least: float) -> float:
    """Grows by one for each e-fold nearer to 1."""
    return -log(1 - min(max(agreement, 0.0), 1.0) + least)


def _logistic(x: float) -> float:
    return min(max(1 / (1 + exp(-x)), 1 - CERTAIN), CERTAIN)
