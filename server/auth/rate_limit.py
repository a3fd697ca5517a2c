"""How often each key may ask: a token bucket a key."""

from collections.abc import Callable
from math import ceil, floor
from time import monotonic

from .keys import Key

BURST_SECONDS = 4.0  # of a key's rate that it may use at once


class RateLimiter:
    """A bucket a key that fills with its rate: -> the seconds to wait, 0 for go on. One event loop, no locks."""

    def __init__(self, requests_per_second: float, clock: Callable[[], float] = monotonic) -> None:
        self._default = requests_per_second
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}  # requests left, and when that was so

    def wait_seconds(self, key: Key) -> float:
        rate, full = self._rate(key)
        now = self._clock()
        left, then = self._left.get(key.id, (full, now))
        left = min(full, left + (now - then) * rate)
        if left < 1:
            self._left[key.id] = left, now
            return (1 - left) / rate
        self._left[key.id] = left - 1, now
        return 0.0

    def told(self, key: Key) -> tuple[tuple[bytes, bytes], ...]:
        """What an answer tells of the key's bucket after its request: headers of draft-ietf-httpapi-ratelimit-headers.

        q requests in w seconds may come at once; r are left, and after t seconds without any it is full again.
        """
        rate, full = self._rate(key)
        left, _ = self._left[key.id]
        policy = f'"key";q={floor(full)};w={ceil(full / rate)}'
        standing = f'"key";r={floor(left)};t={ceil((full - left) / rate)}'
        return (b"ratelimit-policy", policy.encode()), (b"ratelimit", standing.encode())

    def _rate(self, key: Key) -> tuple[float, float]:
        """Requests a second, and the most that may come at once."""
        rate = key.requests_per_second or self._default
        return rate, max(1.0, rate * BURST_SECONDS)
