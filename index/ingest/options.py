"""How files are ingested: one value that all steps share."""

from dataclasses import dataclass, field

from ...media.decoding import HERE, Decoder
from ...media.limits import MediaLimits
from ...media.sampling import Sampling


@dataclass(frozen=True)
class IngestOptions:
    """How files are read, and what is kept of them.

    frames_per_second, sampling  which frames of a video are embedded
    limits                       of a file
    decoder                      who decodes, and how many files at once (decoder.workers)
    frame_store                  whether pictures of the stored frames are kept
    frame_store_max_bytes        that these may take in a collection, 0 for any number; an item that finds no room is
                                 stored without
    """

    frames_per_second: float = 2.0
    sampling: Sampling = "rate"
    limits: MediaLimits = field(default_factory=MediaLimits)
    decoder: Decoder = HERE
    frame_store: bool = True
    frame_store_max_bytes: int = 0

    def rate_for(self, duration_seconds: float) -> float:
        """Frames a second of a video of that length: fewer than asked for where these would be more than max_frames.

        With `auto`, half of max_frames is left for the first frames of shots.
        """
        share = 0.5 if self.sampling == "auto" else 1.0
        return self.limits.rate_for(self.frames_per_second, duration_seconds, share)
