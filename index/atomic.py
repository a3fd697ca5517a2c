"""Files and folders made beside their place: nobody sees them until they are whole, and no kill leaves them for ever.

Each is locked while its maker lives; who makes or removes the next one in that folder removes those of the dead.
`replaced` puts a folder in the place of another, and `settle` finishes or undoes what a kill left of that.
"""

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import StorageError

ASIDE = re.compile(r"\.vicmae-[0-9a-f]{16}")
REPLACED = re.compile(r"\.replaced-(.+)-[0-9a-f]{8}")


@contextmanager
def folder_aside(folder: Path) -> Iterator[Path]:
    """An empty folder within `folder`, which is made if need be; gone when the block ends, unless it was renamed.

    A disk that refuses, also within the block, is told as a StorageError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _held(folder):
            _sweep(folder)
            path = _name_in(folder)
            path.mkdir()
            lock = os.open(path, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        raise StorageError(f"Nothing can be written in {folder}: {error.strerror}.") from error
    try:
        yield path
    except OSError as error:
        raise StorageError(f"Not enough room, or no right to write, in {folder}: {error.strerror or error}.") from error
    finally:
        os.close(lock)
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def file_aside(out: Path) -> Iterator[BinaryIO]:
    """A file that stands at `out` when the block ends, complete and on disk; after an error nothing is there.

    Raises OSError when the disk refuses.
    """
    with _held(out.parent):
        _sweep(out.parent)
        path = _name_in(out.parent)
        file = path.open("xb")
        fcntl.flock(file, fcntl.LOCK_EX)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            path.replace(out)
        flush(out.parent)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def remove(path: Path) -> None:
    """Takes a folder away in one step, then its bytes; what a kill leaves of those is swept later. OSError."""
    with _held(path.parent):
        _remove(path)


def place(made: Path, path: Path) -> None:
    """Moves a folder to where nobody may be; what is in it is on disk first. OSError."""
    _flush_all(made)
    made.rename(path)
    flush(path.parent)


def replace(made: Path, path: Path) -> None:
    """As place(), in the place of the folder that is there. A kill leaves one of the two, for settle() to find."""
    _flush_all(made)
    with _held(path.parent):
        old = path.with_name(f".replaced-{path.name}-{secrets.token_hex(4)}")
        path.rename(old)
        try:
            made.rename(path)
        except OSError:
            old.rename(path)
            raise
        flush(path.parent)
        _remove(old)


def settle(folder: Path) -> None:
    """Finishes every replace() in `folder` that was killed: the old is back, or gone where the new one stands.

    Waits for one that is under way. Raises StorageError where the folder cannot be changed.
    """
    try:
        if not _replaced(folder):
            return
        with _held(folder):
            for old, name in _replaced(folder):
                if (folder / name).exists():
                    _remove(old)
                else:
                    old.rename(folder / name)
                    flush(folder)
    except OSError as error:
        raise StorageError(f"An interrupted restore in {folder} cannot be finished: {error.strerror}.") from error


def flush(path: Path) -> None:
    """path, a file or a folder, is on disk when this returns."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Nobody else makes, removes or replaces anything in `folder` until the block ends; a kill frees it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        # Some network disks lock no folders; there a name of ours is as safe as its random digits make it.
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _sweep(folder: Path) -> None:
    """Removes what dead makers left in `folder`; what cannot be removed stays. Under _held()."""
    for path in [path for path in folder.iterdir() if ASIDE.fullmatch(path.name)]:
        if not _is_dead(path):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def _remove(path: Path) -> None:
    path.rename(_name_in(path.parent))
    flush(path.parent)
    _sweep(path.parent)


def _is_dead(path: Path) -> bool:
    """Whether nobody holds it any more."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _replaced(folder: Path) -> list[tuple[Path, str]]:
    """What replace() moved away and did not remove, with the name it had."""
    try:
        found = [(path, REPLACED.fullmatch(path.name)) for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [(path, match[1]) for path, match in found if match is not None]


def _flush_all(made: Path) -> None:
    for folder, _, files in os.walk(made):
        for path in (folder, *(os.path.join(folder, file) for file in files)):
            flush(Path(path))


def _name_in(folder: Path) -> Path:
    return folder / f".vicmae-{secrets.token_hex(8)}"
