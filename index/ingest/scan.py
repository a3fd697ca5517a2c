"""The plan: which files are there, and what is left to do with them. Decodes no media and writes nothing."""

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...media.info import SNIFF_BYTES, is_media
from ...media.reader import MEDIA_SUFFIXES
from ...media.sampling import Sampling
from ..catalog import CATALOG_FILE, LedgerRow
from ..paths import file_uri

# Sound is a candidate too, so that it is reported as "no pictures" and not passed over in silence.
AUDIO_SUFFIXES = frozenset({".wav", ".mp3", ".m4a", ".aac", ".flac", ".ogg", ".opus", ".wma"})
CANDIDATE_SUFFIXES = frozenset(MEDIA_SUFFIXES) | AUDIO_SUFFIXES
"""Of files that are candidates whatever they hold, so that one that is broken is reported."""


@dataclass(frozen=True)
class Candidate:
    """A file to consider. Size and time are -1 where it could not be looked at; reading says why."""

    path: Path
    size_bytes: int
    mtime_ns: int

    @property
    def uri(self) -> str:
        return file_uri(self.path)


@dataclass
class Walk:
    """What was found below some paths.

    unseen       paths that could not be looked at, each with the reason
    passed_over  how many files are no picture and no video by their first bytes, by lower-case suffix ("" for none)
    """

    files: list[Candidate] = field(default_factory=list)
    unseen: list[tuple[Path, str]] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    roots: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """What to do about the files of a walk.

    todo       read now: new, changed, or to be tried again
    unchanged  done before, as they are now
    failed     failed before, as they are now
    gone       uris below the roots that the walk did not meet
    """

    todo: list[Candidate]
    unchanged: list[LedgerRow]
    failed: list[LedgerRow]
    gone: list[str]


def walk(paths: Iterable[Path]) -> Walk:
    """Candidates below the paths, sorted, each file once.

    A path that is a file is always a candidate. Folders are walked with links followed (each folder once) and hidden
    names and folders of collections skipped; taken are the suffixes of pictures, videos and sound, and what begins like
    a picture or a video under any other name.
    """
    found = Walk()
    files: dict[Path, Candidate] = {}
    seen_folders: set[tuple[int, int]] = set()
    for path in (Path(os.path.abspath(path)) for path in paths):
        try:
            known = path.stat()
        except OSError as error:
            found.unseen.append((path, f"{error.strerror or error}."))
            continue
        found.roots.append(path)
        is_folder = stat.S_ISDIR(known.st_mode)
        below = _below(path, found, seen_folders) if is_folder else [Candidate(path, known.st_size, known.st_mtime_ns)]
        for file in sorted(below, key=lambda file: file.path):
            files.setdefault(file.path, file)
    found.files = list(files.values())
    return found


def plan(
    files: Sequence[Candidate],
    ledger: Mapping[str, LedgerRow],
    frames_per_second: float,
    roots: Sequence[Path] = (),
    retry: bool = False,
    sampling: Sampling = "rate",
) -> Plan:
    """Compares what is there with what was done. A file is the same while size, time, frame rate and sampling are."""
    todo, unchanged, failed = [], [], []
    for file in files:
        row = ledger.get(file.uri)
        same = row is not None and (row.size_bytes, row.mtime_ns, row.frames_per_second, row.sampling) == (
            file.size_bytes,
            file.mtime_ns,
            frames_per_second,
            sampling,
        )
        if row is not None and same and row.state == "done":
            unchanged.append(row)
        elif row is not None and same and row.state == "failed" and not retry:
            failed.append(row)
        else:
            todo.append(file)
    here = {file.uri for file in files}
    tops = [file_uri(root) for root in roots]
    gone = [uri for uri in ledger if uri not in here and any(_is_below(uri, top) for top in tops)]
    return Plan(todo, unchanged, failed, gone)


def _is_below(uri: str, top: str) -> bool:
    return uri == top or uri.startswith(top.rstrip("/") + "/")


def _below(top: Path, found: Walk, seen: set[tuple[int, int]]) -> Iterator[Candidate]:
    """Candidates in the folder and below; a folder met again, as in a loop of links, is skipped."""

    def is_unseen(error: OSError) -> None:
        found.unseen.append((Path(error.filename), f"{error.strerror or error}."))

    for folder, folders, files in os.walk(top, onerror=is_unseen, followlinks=True):
        try:
            known = os.stat(folder)
        except OSError as error:  # gone in the meantime
            is_unseen(error)
            continue
        # A collection's own folder, within the folders that it is made of, holds its uploads and pictures.
        if (known.st_dev, known.st_ino) in seen or CATALOG_FILE in files:
            folders.clear()
            continue
        seen.add((known.st_dev, known.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(folder, name) for name in files if not name.startswith(".")):
            candidate = _candidate(path)
            if candidate is None:
                continue
            suffix = path.suffix.lower()
            if suffix in CANDIDATE_SUFFIXES or _begins_like_media(candidate, is_unseen):
                yield candidate
            else:
                found.passed_over[suffix] += 1


def _begins_like_media(file: Candidate, is_unseen: Callable[[OSError], None]) -> bool:
    """By the first bytes. A file that cannot be opened, or leads nowhere, is told and is none."""
    try:
        with file.path.open("rb") as opened:
            return is_media(opened.read(SNIFF_BYTES))
    except OSError as error:
        is_unseen(error)
        return False


def _candidate(path: Path) -> Candidate | None:
    """None for a pipe, a socket or a device; a link that leads nowhere is a candidate, so that it is reported."""
    try:
        known = path.stat()
    except OSError:
        return Candidate(path, -1, -1)
    return Candidate(path, known.st_size, known.st_mtime_ns) if stat.S_ISREG(known.st_mode) else None
