"""Reading videos: the container, which packets to decode for the frames wanted, and frames as RGB pictures."""

from .medium import VideoMedium

__all__ = ["VideoMedium"]
