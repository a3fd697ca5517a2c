"""A rectangle of a picture as shares of its sides, and the part of frames that lies in it."""

from dataclasses import dataclass

from ...errors import InvalidRequest
from ...media.frames import Frames

LEAST_SIDE = 0.01  # of the picture


@dataclass(frozen=True)
class Region:
    """From left to right and from top to bottom, each 0..1 of the picture's width and height."""

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        is_inside = 0 <= self.left < self.right <= 1 and 0 <= self.top < self.bottom <= 1
        if not is_inside or self.smaller_share < LEAST_SIDE:
            raise InvalidRequest(
                f"The region {self.left:g}, {self.top:g} to {self.right:g}, {self.bottom:g} cannot be looked for: "
                f"expected left < right and top < bottom, shares in 0..1, at least {LEAST_SIDE:g} apart."
            )

    @property
    def smaller_share(self) -> float:
        """Of the picture's width or of its height, whichever is less."""
        return min(self.right - self.left, self.bottom - self.top)

    def overlap(self, other: "Region") -> float:
        """Intersection over union, 0..1."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        both = max(0.0, wide) * max(0.0, high)
        areas = sum((each.right - each.left) * (each.bottom - each.top) for each in (self, other))
        return both / (areas - both)

    def cut_from(self, frames: Frames) -> Frames:
        """frames (T, H, W, 3) -> the region of each (T, h, w, 3), at least one pixel."""
        height, width = frames.data.shape[1:3]
        left, top = min(round(self.left * width), width - 1), min(round(self.top * height), height - 1)
        right, bottom = max(round(self.right * width), left + 1), max(round(self.bottom * height), top + 1)
        return Frames(frames.data[:, top:bottom, left:right], frames.seconds)


WHOLE = Region(0.0, 0.0, 1.0, 1.0)
