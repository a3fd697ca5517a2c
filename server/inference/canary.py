"""The drift gate while the server runs: now and then a few canary pictures through the engine again.

A device may start to compute wrongly long after the start. Knows no HTTP: whoever asks is told whether all is well.
"""

import logging
import threading
from collections.abc import Callable
from itertools import cycle
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ...errors import DriftError, EngineError
from ...export.drift import compare, require_within_limits
from ...export.engine import Engine

PICTURES = 2  # of the canary at a time, each in its turn: a check costs as much as a small request

log = logging.getLogger("vicmae.server")


class Canary:
    """Checks an engine every so many seconds in a thread of its own, from `with` to the end of it.

    pixels, expected  (C, S, S, 3) uint8 and the trained model's vectors (C, D) for them
    every_seconds     0: no checks
    publish           is handed the least cosine of each check
    """

    def __init__(
        self,
        engine: Engine,
        pixels: NDArray[np.uint8],
        expected: NDArray[np.float32],
        every_seconds: float,
        publish: Callable[[float], None],
    ) -> None:
        self._engine = engine
        self._every_seconds = every_seconds
        self._publish = publish
        starts = range(0, len(pixels), PICTURES)
        self._turns = cycle([(pixels[i : i + PICTURES], expected[i : i + PICTURES]) for i in starts])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="canary", daemon=True)
        self.is_well = True

    def check(self) -> bool:
        """Embeds the next pictures of the canary; -> whether their vectors are within the limits."""
        pixels, expected = next(self._turns)
        try:
            drift = compare(expected, self._engine.embed(pixels), source="canary")
            self._publish(drift.min_cosine)
            require_within_limits(drift, self._engine.precision, "the running engine")
        except (DriftError, EngineError) as error:
            log.error("NOT READY: %s Restart the server; vicmae doctor tells more.", error)
            self.is_well = False
        else:
            if not self.is_well:
                log.warning("the running engine gives the trained model's vectors again")
            self.is_well = True
        return self.is_well

    def _watch(self) -> None:
        while not self._stop.wait(self._every_seconds):
            try:
                self.check()
            except Exception:
                # Broad on purpose: an engine that breaks in an unforeseen way must not end the watch in silence.
                log.exception("NOT READY: the check of the running engine failed")
                self.is_well = False

    def __enter__(self) -> Self:
        if self._every_seconds:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
