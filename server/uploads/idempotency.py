"""Idempotency-Key: a request that is sent again gets the first one's answer. Durable, for a day. Knows no media.

A request that came and failed leaves nothing: it may be tried again under its key.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from time import time

from ...errors import Conflict, InvalidRequest
from ...index.catalog import Answers

KEPT_SECONDS = 24 * 3600.0
MAX_KEY = 200


@dataclass(frozen=True)
class StoredResponse:
    """An answer as it was given."""

    status: int
    location: str
    body: str


class IdempotencyStore:
    """The answers of one data folder by key. Any thread may use it."""

    def __init__(self, data: Path) -> None:
        self._answers = Answers(data)
        self._lock = Lock()
        self._running: set[str] = set()

    @contextmanager
    def running(self, key: str) -> Iterator[None]:
        """While a request runs under the key; Conflict for a second one at the same time."""
        check_key(key)
        with self._lock:
            if key in self._running:
                raise Conflict(f"A request with the Idempotency-Key {key!r} is under way. Wait for its answer.")
            self._running.add(key)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(key)

    def find(self, key: str, request: str) -> StoredResponse | None:
        """The answer to the same request before; Conflict when the key was another request's. `request`: its digest."""
        row = self._answers.find(key, time() - KEPT_SECONDS)
        if row is None:
            return None
        if row[0] != request:
            raise Conflict(f"The Idempotency-Key {key!r} was used for another request. A new request needs a new key.")
        return StoredResponse(*row[1:])

    def keep(self, key: str, request: str, answer: StoredResponse) -> None:
        """Remembers an answer, on disk when this returns; forgets those of yesterday."""
        row = (request, answer.status, answer.location, answer.body)
        self._answers.keep(key, row, time(), time() - KEPT_SECONDS)


def check_key(key: str) -> None:
    if not 1 <= len(key) <= MAX_KEY or not key.isprintable():
        raise InvalidRequest(f"An Idempotency-Key is 1 to {MAX_KEY} visible characters.")
