"""What belongs to one request while it runs: the time of each stage, and whether its client is still there."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal, get_args

Stage = Literal["decode_ms", "queue_ms", "engine_ms", "index_ms", "verify_ms"]
STAGES: tuple[Stage, ...] = get_args(Stage)


class ClientDisconnected(Exception):
    """The client of a running request is gone: nobody waits for its result."""


@dataclass
class RequestContext:
    """Milliseconds spent in each stage of one request; `cancelled` is set when its client disconnects.

    Files of one request are decoded at the same time: decode_ms may be more than the request took.
    """

    timing: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    cancelled: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """Times what is done inside. Raises ClientDisconnected when the client is gone before it begins."""
        self.check()
        began = perf_counter()
        try:
            yield
        finally:
            self.add(name, perf_counter() - began)

    def add(self, name: Stage, seconds: float) -> None:
        """Adds the seconds to the stage's time."""
        self.timing[name] = round(self.timing[name] + seconds * 1000, 3)

    def check(self) -> None:
        """Raises ClientDisconnected when the client is gone."""
        if self.cancelled.is_set():
            raise ClientDisconnected
