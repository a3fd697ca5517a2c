"""Which folders of this machine a request may have scanned: the library roots, and nothing that a link leads out of.

Asks the file system; reads no files and knows no HTTP.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from ...errors import Forbidden, InvalidRequest, NotFound


def parse_library_roots(text: str) -> tuple[Path, ...]:
    """ "/photos:/films" -> the folders, made absolute."""
    return tuple(Path(os.path.abspath(folder)) for folder in text.split(os.pathsep) if folder.strip())


def resolve_scan_path(roots: Sequence[Path], wanted: str) -> Path:
    """The path of a request, absolute or below the only root, if it is a root or lies below one.

    Raises Forbidden for other places and for links on the way, InvalidRequest, NotFound.
    """
    if not roots:
        raise Forbidden("This server scans no folders. The setting library_roots lists those that it may scan.")
    path = Path(wanted)
    if not wanted or "\0" in wanted or ".." in path.parts or not wanted.isprintable():
        raise InvalidRequest("path must name a folder or file below a library root, without '..' in it.")
    if not path.is_absolute():
        if len(roots) > 1:
            raise InvalidRequest("There are several library roots: path must be absolute.")
        path = roots[0] / path
    root = next((root for root in roots if path.is_relative_to(root)), None)
    if root is None:
        raise Forbidden("The path is not below a library root (library_roots).")
    below = path.relative_to(root).parts
    if any(root.joinpath(*below[: depth + 1]).is_symlink() for depth in range(len(below))):
        raise Forbidden("The path leads over a symbolic link, which is not followed below a library root.")
    if not path.exists():
        raise NotFound("There is no such folder or file below the library root.")
    return path


def is_inside(roots: Sequence[Path], path: Path) -> bool:
    """Whether a file really lies below a root, wherever links on the way to it lead."""
    real = Path(os.path.realpath(path))
    return any(real.is_relative_to(os.path.realpath(root)) for root in roots)
