"""How often each edit happens and how far it goes: the table `edits` of a recipe."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Edits:
    """How often each edit happens and how far it goes. Chances are per view, layouts exclude each other."""

    crop: float = 0.6  # a part is cut out
    least_area: float = 0.12
    mirror: float = 0.3
    quarter_turn: float = 0.2
    tilt: float = 0.3
    most_tilt_degrees: float = 25.0
    perspective: float = 0.25
    inset: float = 0.16  # laid on another picture
    framed: float = 0.16  # laid on a plain ground or on its own blurred copy
    collage: float = 0.14
    blend: float = 0.06
    overlay: float = 0.4
    colour: float = 0.5
    grey: float = 0.15
    low_light: float = 0.06
    blur: float = 0.25
    noise: float = 0.15
    moire: float = 0.1
    jpeg: float = 0.3
