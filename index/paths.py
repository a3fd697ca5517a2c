"""Files by path and by uri, and whether one is surely gone. Opens nothing."""

import os
from pathlib import Path
from urllib.parse import unquote_to_bytes


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


def printable(path: Path) -> str:
    """The path for people and JSON: bytes of a file name that are no text become U+FFFD."""
    return os.fsencode(path).decode("utf-8", "replace")
