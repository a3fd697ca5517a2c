"""Files by path and by uri, whether one is surely gone, and a disk that refuses. Opens nothing."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote_to_bytes

from ..errors import NotFound, StorageError


@contextmanager
def storage_errors(told: str) -> Iterator[None]:
    """A disk that refuses within the block is a StorageError: what could not be done, and the disk's reason."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{told}: {error.strerror or error}.") from error


def file_uri(path: Path) -> str:
    """The uri of a file: file:///…, percent-encoded, whatever bytes its name is made of."""
    return Path(os.path.abspath(path)).as_uri()


def uri_path(uri: str) -> Path:
    """The path of a file_uri()."""
    return Path(os.fsdecode(unquote_to_bytes(uri.removeprefix("file://"))))


def is_gone(path: Path) -> bool:
    """Whether there surely is no such file; a folder we may not enter or a disk that fails says nothing."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def present(path: Path, name: str) -> Path:
    """path itself, the file of the item of that name; NotFound when it has vanished since it was indexed."""
    if not path.is_file():
        raise NotFound(
            f"The file of {name!r} is no longer at {printable(path)}. "
            "Bring it back, or remove the item with `vicmae index FOLDER --prune`."
        )
    return path


def printable(path: Path) -> str:
    """The path for people and JSON: bytes of a file name that are no text become U+FFFD."""
    return os.fsencode(path).decode("utf-8", "replace")
