"""What a search works with beside the collection: an engine, a decoder, limits, calibration."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRequest
from ...export.calibration import UNCALIBRATED, Calibration
from ...export.engine import Engine
from ...media.decoding import HERE, Decoder
from ...media.limits import MediaLimits
from ..cache import ByteCache
from ..matching import Features

Stage = Literal["decode_ms", "engine_ms", "index_ms", "verify_ms"]
Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]  # (N, S, S, 3)
FEATURES_BYTES = 128 * 2**20  # some 300 stored pictures, those that were compared last


def _no_engine(batches: Sequence[Pixels]) -> list[Floats]:
    raise InvalidRequest("A file can only be looked for with an engine that embeds it.")


@dataclass(frozen=True)
class Tools:
    """What a search works with beside the collection.

    embed   pixels (N, S, S, 3) uint8, several at once -> vectors (N, D) float32 of unit length for each
    stage   a context around each stage of a search, for who measures its time or wants to end it early
    verify_budget_seconds  after which no further hit is looked at
    features  of stored pictures that were compared before; shared by all searches of one process
    """

    embed: Callable[[Sequence[Pixels]], list[Floats]] = _no_engine
    limits: MediaLimits = MediaLimits()
    decoder: Decoder = HERE
    frames_per_second: float = 2.0
    max_query_seconds: float = 120.0
    calibration: Calibration = UNCALIBRATED
    stage: Callable[[Stage], AbstractContextManager[None]] = lambda stage: nullcontext()
    verify_budget_seconds: float = 5.0
    features: ByteCache[str, Features] = field(default_factory=lambda: ByteCache(FEATURES_BYTES, lambda f: f.nbytes))


def tools_of(engine: Engine) -> Tools:
    """An engine of this process with its calibration, and the defaults."""
    return Tools(lambda batches: [engine.embed(pixels) for pixels in batches], calibration=engine.calibration)
