"""What a snapshot says of itself: manifest.json, the first member of its tar."""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from ...errors import InvalidRequest, NotFound, StorageError

FORMAT: Literal["vicmae-snapshot-1"] = "vicmae-snapshot-1"
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 1 << 30


@dataclass(frozen=True)
class Member:
    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a snapshot says of itself."""

    format: Literal["vicmae-snapshot-1"]
    created_at: str
    collection: str
    model: str
    fingerprint: str
    items: int
    frames: int
    members: tuple[Member, ...]


def read_manifest(path: Path) -> Manifest:
    """What a snapshot says of itself; proves nothing. Raises NotFound, InvalidRequest."""
    with open_tar(path) as tar:
        return manifest_of(tar, path)


@contextmanager
def open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    if not path.is_file():
        raise NotFound(f"There is no snapshot {path}.")
    try:
        with tarfile.open(path, "r:") as tar:
            yield tar
    except tarfile.TarError as error:
        raise InvalidRequest(f"{path} is no snapshot: expected a file that `vicmae snapshot create` wrote.") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be unpacked: {error.strerror or error}.") from error


def manifest_of(tar: tarfile.TarFile, path: Path) -> Manifest:
    info = tar.next()
    refused = InvalidRequest(f"{path} is no snapshot that this vicmae knows: expected {FORMAT} in its manifest.")
    if info is None or info.name != MANIFEST or not info.isreg() or info.size > MAX_MANIFEST_BYTES:
        raise refused
    source = tar.extractfile(info)
    assert source is not None  # a regular file, as was checked
    try:
        return TypeAdapter(Manifest).validate_json(source.read())
    except ValueError as error:
        raise refused from error
