"""The pictures of a file that is being decoded, kept until it is known which of its frames are stored.

Few stay in memory, those of a long film go to a file without a name: a kill leaves nothing of it.
"""

import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...media.frames import Frames
from ..paths import storage_errors
from .jpeg import to_jpeg

MEMORY_BYTES = 2 * 2**20  # of one file under way; what is more goes to disk
TOLERANCE_SECONDS = 1e-3  # between a frame's second and the same frame's when it is decoded again


class Spool:
    """Pictures with the seconds at which they are shown, ascending. For one thread at a time; close() it."""

    def __init__(self, folder: Path) -> None:
        """folder: on whose disk there is room; it is made if need be. Raises StorageError."""
        self._told = f"Pictures cannot be kept in {folder}"
        with storage_errors(self._told):
            folder.mkdir(exist_ok=True)
        self._file = tempfile.SpooledTemporaryFile(MEMORY_BYTES, dir=os.fspath(folder))
        weakref.finalize(self, self._file.close)  # where whoever would close it has given up
        self._seconds: list[float] = []
        self._offsets = [0]

    def __len__(self) -> int:
        return len(self._seconds)

    def add(self, frames: Frames) -> None:
        """Takes the pictures of these frames. Raises StorageError when the disk refuses."""
        for picture, second in zip(frames.data, frames.seconds.tolist(), strict=True):
            self.put(second, to_jpeg(picture))

    def put(self, seconds: float, jpeg: bytes) -> None:
        """Takes one picture that is a JPEG already. Raises StorageError when the disk refuses."""
        with storage_errors(self._told):
            self._file.write(jpeg)
        self._seconds.append(seconds)
        self._offsets.append(self._offsets[-1] + len(jpeg))

    def places_at(self, seconds: NDArray[np.float64]) -> list[int] | None:
        """The places of the pictures shown at these seconds; None when one of them is not here."""
        own = np.array(self._seconds)
        places = np.searchsorted(own, seconds - TOLERANCE_SECONDS)
        if not len(own) or places.max(initial=0) == len(own):
            return None
        return None if (own[places] > seconds + TOLERANCE_SECONDS).any() else places.tolist()

    def size_of(self, places: Iterable[int]) -> int:
        """Their bytes together."""
        return sum(self._offsets[place + 1] - self._offsets[place] for place in places)

    def read(self, places: Iterable[int]) -> Iterator[bytes]:
        """The JPEGs of these places, one at a time. Raises StorageError."""
        for place in places:
            with storage_errors(self._told):
                self._file.seek(self._offsets[place])
                jpeg = self._file.read(self._offsets[place + 1] - self._offsets[place])
            yield jpeg

    def close(self) -> None:
        """Gives the room back. Calling it twice is allowed."""
        self._file.close()
