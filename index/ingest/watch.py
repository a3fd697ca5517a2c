"""When to look at folders again: once something in them changed and then nothing did for a moment, and now and then.

Says when, never what: who is told walks the folders anew, so that what the system does not tell of (a disk on the
network, a folder that came later) is found at a later turn all the same. Reads no files.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from time import time_ns

from watchfiles import Change, watch

from .scan import Candidate

log = logging.getLogger(__name__)

QUIET_SECONDS = 2.0  # without a change, until one is told
AGAIN_SECONDS = 600.0  # after which folders are walked whether or not anything was told
UNTOLD_SECONDS = 60.0  # the same where the system tells nothing
CLOSE_SECONDS = 5.0  # for the thread to notice that it is over


class Changes:
    """Tells when to look again. Get one from `watched`."""

    def __init__(self) -> None:
        self.untold: str | None = None  # why the system tells nothing, where it does not
        self.changed = Event()

    def wait(self, soon: bool = False) -> None:
        """Until it is time to look again; `soon`: a file was still being written, so in a moment at the latest."""
        again = AGAIN_SECONDS if self.untold is None else UNTOLD_SECONDS
        self.changed.wait(QUIET_SECONDS if soon else again)
        self.changed.clear()


@contextmanager
def watched(roots: Sequence[Path], apart_from: Path) -> Iterator[Changes]:
    """Watches the files and folders, folders with all below them, until the block ends.

    What lies in `apart_from` or has a hidden name does not count: what is made of a change is written there.
    """
    turns, stop, apart_from = Changes(), Event(), Path(os.path.abspath(apart_from))

    def counts(_: Change, path: str) -> bool:
        return not Path(path).name.startswith(".") and not Path(path).is_relative_to(apart_from)

    def follow() -> None:
        quiet_ms = int(1000 * QUIET_SECONDS)
        try:
            for _ in watch(
                *roots,
                watch_filter=counts,
                step=quiet_ms,
                debounce=10 * quiet_ms,
                rust_timeout=1000,
                stop_event=stop,
                ignore_permission_denied=True,
            ):
                turns.changed.set()
        except Exception as error:  # of the library's several; without it the turns by time are left
            log.info("changes below %s are not told", roots, exc_info=True)
            turns.untold = str(error)
            turns.changed.set()

    thread = Thread(target=follow, name="watching", daemon=True)
    thread.start()
    try:
        yield turns
    finally:
        stop.set()
        thread.join(CLOSE_SECONDS)


def is_being_written(file: Candidate) -> bool:
    """Whether it changed a moment ago, so that it may not be whole yet."""
    return 0 <= time_ns() - file.mtime_ns < QUIET_SECONDS * 10**9
