"""The pictures of a file that is being decoded, kept until it is known which of its frames are stored.

Few stay in memory, those of a long film go to a file without a name: a kill leaves nothing of it.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...media.frames import Frames
from ..paths import storage_errors
from .jpeg import to_jpeg

MEMORY_BYTES = 2 * 2**20  # of one file under way; what is more goes to disk


class Spool:
    """Pictures in the order in which they come, each by its place. For one thread at a time; close() it."""

    def __init__(self, folder: Path) -> None:
        """folder: on whose disk there is room; it is made if need be. Raises StorageError."""
        self._told = f"Pictures cannot be kept in {folder}"
        with storage_errors(self._told):
            folder.mkdir(exist_ok=True)
        self._file = tempfile.SpooledTemporaryFile(MEMORY_BYTES, dir=os.fspath(folder))
        self._offsets = [0]

    @property
    def nbytes(self) -> int:
        return self._offsets[-1]

    def add(self, frames: Frames) -> None:
        """Takes the pictures of these frames. Raises StorageError when the disk refuses."""
        for picture in frames.data:
            jpeg = to_jpeg(picture)
            with storage_errors(self._told):
                self._file.write(jpeg)
            self._offsets.append(self._offsets[-1] + len(jpeg))

    def read(self, places: Iterable[int]) -> Iterator[bytes]:
        """The JPEGs of these places, one at a time."""
        for place in places:
            self._file.seek(self._offsets[place])
            yield self._file.read(self._offsets[place + 1] - self._offsets[place])

    def close(self) -> None:
        """Gives the room back. Calling it twice is allowed."""
        self._file.close()
