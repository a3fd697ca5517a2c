"""How much of a file is let in. The values come from the settings; this module carries and words them."""

import math
from dataclasses import dataclass, replace

from ..errors import MediaTooLarge


@dataclass(frozen=True)
class MediaLimits:
    """Limits on one file. Each is checked before the work it bounds is done, and again while it is done.

    max_bytes             size of what is sent; a file on disk may have any
    max_pixels            width x height of a picture or a video frame
    max_frames            frames sampled from one file
    max_duration_seconds  of a video or an animation, or of the part of it that is read
    """

    max_bytes: int = 4 * 2**30
    max_pixels: int = 200_000_000
    max_frames: int = 50_000
    max_duration_seconds: float = 6 * 3600.0

    def for_own_disk(self) -> "MediaLimits":
        """Those for a file that nobody sent: it may be of any length, and is sampled more thinly (rate_for)."""
        return replace(self, max_duration_seconds=math.inf)

    def rate_for(self, frames_per_second: float, duration_seconds: float, share: float = 1.0) -> float:
        """The rate itself or, where it would take more than that share of max_frames, the highest that does not."""
        most = max(1.0, self.max_frames * share - 1)  # the first frame and the last may both lie on the edge of a cell
        return min(frames_per_second, most / duration_seconds) if duration_seconds > 0 else frames_per_second

    def check_bytes(self, size: int) -> None:
        if size > self.max_bytes:
            raise MediaTooLarge(
                f"The file has {size:,} bytes, and at most {self.max_bytes:,} are read. "
                f"Send a smaller one, or raise the limit on bytes (max_upload_bytes).",
                "max_upload_bytes",
            )

    def check_pixels(self, width: int, height: int) -> None:
        if width * height > self.max_pixels:
            raise MediaTooLarge(
                f"The picture is {width} x {height} = {width * height:,} pixels, and at most "
                f"{self.max_pixels:,} are decoded. Send a smaller one, or raise max_pixels.",
                "max_pixels",
            )

    def check_frames(self, count: int) -> None:
        if count > self.max_frames:
            raise MediaTooLarge(
                f"Sampling takes {count:,} frames from the file, and at most {self.max_frames:,} are taken. "
                f"Ask for fewer frames a second or a shorter part, or raise max_frames.",
                "max_frames",
            )

    def check_duration(self, seconds: float) -> None:
        if seconds > self.max_duration_seconds:
            raise MediaTooLarge(
                f"The video is {seconds:,.1f} seconds long, and at most {self.max_duration_seconds:,.1f} are "
                f"read. Cut it, or raise max_duration_seconds.",
                "max_duration_seconds",
            )
