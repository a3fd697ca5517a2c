"""Files and folders that nobody sees until they are whole, and that no kill leaves half made for ever.

Each is made under a name of its own beside its place, and is locked while its maker lives; who makes or removes the
next one in that folder removes those of the dead. `replace` puts a folder in the place of another, and `settle`
finishes or undoes what a kill left of that.
"""

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .locks import file_lock
from .paths import storage_errors

TEMPORARY = re.compile(r"\.vicmae-[0-9a-f]{16}")
REPLACED = re.compile(r"\.replaced-(.+)-[0-9a-f]{8}")


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """An empty folder within `folder`, which is made if need be; gone when the block ends, unless it was renamed.

    A disk that refuses, also within the block, is told as a StorageError.
    """
    with ExitStack() as stack:
        with storage_errors(f"Nothing can be written in {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
            with _only_one(folder):
                _sweep(folder)
                path = _name_in(folder)
                path.mkdir()
                stack.enter_context(file_lock(path))
        try:
            with storage_errors(f"Not enough room, or no right to write, in {folder}"):
                yield path
        finally:
            stack.close()
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def atomic_file(out: Path) -> Iterator[BinaryIO]:
    """A file that stands at `out` when the block ends, complete and on disk; after an error nothing is there.

    Raises OSError when the disk refuses.
    """
    with scratch_file(out.parent) as (path, file):
        yield file
        file.flush()
        os.fsync(file.fileno())
        path.replace(out)
        flush(out.parent)


@contextmanager
def scratch_file(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file within `folder`, gone when the block ends unless it was renamed; locked until then in either case.

    Raises OSError when the disk refuses.
    """
    with ExitStack() as stack:
        with _only_one(folder):
            _sweep(folder)
            path = _name_in(folder)
            path.touch(exist_ok=False)
            stack.enter_context(file_lock(path))
        try:
            with path.open("r+b") as file:
                yield path, file
        finally:
            path.unlink(missing_ok=True)


def link_or_copy(source: Path, to: Path) -> None:
    """The same bytes at `to`, unless it is there: a second name where the file system can, else a copy.

    Raises OSError; FileNotFoundError when the source is gone.
    """
    if to.exists():
        return
    try:
        os.link(source, to)
    except OSError:
        aside = to.with_name(f"{to.name}.part")
        shutil.copy2(source, aside)
        aside.replace(to)


def take_away(path: Path) -> None:
    """Takes a folder away in one step; its bytes are there until the next sweep(). OSError."""
    with _only_one(path.parent):
        _take_away(path)


def sweep(folder: Path) -> None:
    """Removes what was taken away and what dead makers left in `folder`; what cannot be removed stays."""
    with _only_one(folder):
        _sweep(folder)


def replace(made: Path, path: Path) -> None:
    """Moves a folder, which is on disk, to `path`; what stood there goes with the next sweep(). OSError.

    A kill leaves one of the two, for settle() to find.
    """
    with _only_one(path.parent):
        if not path.exists():
            made.rename(path)
            flush(path.parent)
            return
        old = path.with_name(f".replaced-{path.name}-{secrets.token_hex(4)}")
        path.rename(old)
        try:
            made.rename(path)
        except OSError:
            old.rename(path)
            raise
        flush(path.parent)
        _take_away(old)


def settle(folder: Path) -> None:
    """Finishes every replace() in `folder` that was killed: the old is back, or gone where the new one stands.

    Waits for one that is under way. Raises StorageError where the folder cannot be changed.
    """
    with storage_errors(f"An interrupted restore in {folder} cannot be finished"):
        if not _replaced(folder):
            return
        with _only_one(folder):
            for old, name in _replaced(folder):
                if (folder / name).exists():
                    _take_away(old)
                else:
                    old.rename(folder / name)
                    flush(folder)
            _sweep(folder)


def flush(path: Path) -> None:
    """path, a file or a folder, is on disk when this returns."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_all(made: Path) -> None:
    """As flush, with all that is in the folder."""
    for folder, _, files in os.walk(made):
        for path in (folder, *(os.path.join(folder, file) for file in files)):
            flush(Path(path))


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Nobody else makes, removes or replaces anything in `folder` until the block ends; a kill frees it."""
    with ExitStack() as stack:
        # Some network disks lock no folders; there a name of ours is as safe as its random digits make it.
        with suppress(OSError):
            stack.enter_context(file_lock(folder))
        yield


def _sweep(folder: Path) -> None:
    """Under _only_one()."""
    for path in [path for path in folder.iterdir() if TEMPORARY.fullmatch(path.name)]:
        if _is_held(path):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def _take_away(path: Path) -> None:
    path.rename(_name_in(path.parent))
    flush(path.parent)


def _is_held(path: Path) -> bool:
    """Whether its maker lives; True where that cannot be known."""
    try:
        with file_lock(path, wait=False) as ours:
            return not ours
    except OSError:
        return True


def _replaced(folder: Path) -> list[tuple[Path, str]]:
    """What replace() moved away and did not remove, with the name it had."""
    try:
        found = [(path, REPLACED.fullmatch(path.name)) for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [(path, match[1]) for path, match in found if match is not None]


def _name_in(folder: Path) -> Path:
    return folder / f".vicmae-{secrets.token_hex(8)}"
