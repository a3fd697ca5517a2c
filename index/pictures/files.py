"""The picture files of one collection: written once, read in parts, removed. Knows tokens and bytes, and no items.

A file is on disk before the transaction that names it, and is removed after the one that forgets it: what the catalog
names is there. What a kill leaves between the two is named by nobody, and goes with the next sweep(). Its writer holds
a lock on it until the transaction has ended, so that no sweep takes what is about to be named.
"""

import logging
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import numpy as np

from ...errors import CorruptMedia, NotFound
from ..atomic import flush, link_or_copy, scratch_file
from ..atomic import sweep as sweep_scratch
from ..catalog import PictureFile
from ..locks import file_lock
from ..paths import storage_errors

log = logging.getLogger(__name__)

SUFFIX = ".pictures"
FOLDERS = [f"{number:02x}" for number in range(256)]  # the beginnings of tokens


class PictureFiles:
    """FOLDER/ab/ab….pictures, one a token. Any thread and any process may use them."""

    def __init__(self, folder: Path) -> None:
        """Makes nothing yet."""
        self.folder = folder

    def path(self, token: str) -> Path:
        return self.folder / token[:2] / f"{token}{SUFFIX}"

    @contextmanager
    def written(self, jpegs: Iterable[bytes]) -> Iterator[PictureFile]:
        """A new file of these pictures, on disk; it stays if the catalog names it when the block ends well.

        An error within the block removes it. Raises StorageError when the disk refuses.
        """
        token = secrets.token_hex(16)
        path = self.path(token)
        with storage_errors(f"Pictures cannot be kept in {self.folder}"):
            self._make_folders(path.parent.name)
            with scratch_file(self.folder) as (scratch, file):
                sizes = [file.write(jpeg) for jpeg in jpegs]
                file.flush()
                try:
                    # Nobody looks for this name yet, so it may have it before it is on disk: one wait instead of two.
                    scratch.rename(path)
                    os.fsync(file.fileno())
                    flush(path.parent)
                    yield PictureFile(token, np.array(sizes, np.int64))
                except Exception:  # not for Ctrl-C, which may come when it is named already: then a sweep decides
                    path.unlink(missing_ok=True)
                    raise

    def read(self, file: PictureFile, places: Sequence[int]) -> list[bytes]:
        """The JPEGs at these places of a file. Raises NotFound without the file, CorruptMedia when it is too short."""
        ends = np.cumsum(file.sizes)
        found = []
        try:
            with self.path(file.token).open("rb", buffering=0) as handle:
                for place in places:
                    size = int(file.sizes[place])
                    jpeg = os.pread(handle.fileno(), size, int(ends[place]) - size)
                    if len(jpeg) < size:
                        raise CorruptMedia(f"The pictures {self.path(file.token)} are cut short. Run `vicmae verify`.")
                    found.append(jpeg)
        except FileNotFoundError as error:
            raise NotFound(f"There is no file {self.path(file.token)}.") from error
        except OSError as error:
            raise CorruptMedia(f"{self.path(file.token)} cannot be read: {error.strerror or error}.") from error
        return found

    def fault(self, file: PictureFile) -> str | None:
        """What is wrong with a file, without reading it; None: it is there and as long as it shall be."""
        try:
            size_bytes = self.path(file.token).stat().st_size
        except OSError as error:
            return f"{self.path(file.token).name}: {error.strerror}"
        return None if size_bytes == file.nbytes else f"{self.path(file.token).name}: {size_bytes} bytes"

    def remove(self, tokens: Iterable[str]) -> None:
        """Deletes files that nobody names any more; one that the disk keeps is told in the log, and swept later."""
        for token in tokens:
            try:
                self.path(token).unlink(missing_ok=True)
            except OSError as error:
                log.warning("pictures that no item has any more cannot be removed now: %s", error)

    def link(self, tokens: Iterable[str], source: "PictureFiles", missing_ok: bool = False) -> None:
        """Has files of the source here too, as link_or_copy does. OSError; FileNotFoundError for one that is gone."""
        for token in tokens:
            self._make_folders(token[:2])
            with suppress(FileNotFoundError) if missing_ok else nullcontext():
                link_or_copy(source.path(token), self.path(token))

    def tokens(self) -> Iterator[list[str]]:
        """Those of all files that lie there, in pieces."""
        for folder in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            if folder.is_dir() and not folder.name.startswith("."):
                yield [path.stem for path in folder.iterdir() if path.suffix == SUFFIX]

    def sweep(self, named: Callable[[Sequence[str]], set[str]]) -> int:
        """Removes the files that nobody names, except those being written -> how many.

        named: of these tokens, those that the catalog names now. Where files cannot be locked nothing is removed.
        """
        removed = 0
        with storage_errors(f"{self.folder} cannot be cleared of what is needed no more"):
            if self.folder.is_dir():
                sweep_scratch(self.folder)
            for tokens in self.tokens():
                spare = set(tokens) - named(tokens)
                removed += sum(self._remove_spare(token, named) for token in spare)
        return removed

    def _remove_spare(self, token: str, named: Callable[[Sequence[str]], set[str]]) -> bool:
        try:
            with file_lock(self.path(token), wait=False) as ours:
                # Whoever wrote it has ended, and what it committed can be seen now.
                if not ours or named([token]):
                    return False
                self.path(token).unlink(missing_ok=True)
                return True
        except OSError:
            return False

    def _make_folders(self, needed: str) -> None:
        """All that there will be, where the needed one is missing, so that the disk is waited for once.

        What is unpacked from a snapshot has only those that it fills.
        """
        if not (self.folder / needed).is_dir():
            for name in FOLDERS:
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            flush(self.folder)
