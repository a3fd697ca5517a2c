"""How files are ingested: one value that all steps share."""

from dataclasses import dataclass, field

from ...media.decoding import HERE, Decoder
from ...media.limits import MediaLimits
from ...media.sampling import Sampling


@dataclass(frozen=True)
class IngestOptions:
    """frames_per_second, sampling: which frames of a video are embedded. limits: of a file. decoder: who decodes, and
    how many files at once (decoder.workers)."""

    frames_per_second: float = 2.0
    sampling: Sampling = "rate"
    limits: MediaLimits = field(default_factory=MediaLimits)
    decoder: Decoder = HERE
