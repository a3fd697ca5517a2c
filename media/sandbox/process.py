"""A decoding process, as its parent sees it: started, spoken to over a channel, killed for sure."""

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
from typing import BinaryIO, cast

from ...errors import (
    EngineError,
)
from .channel import Channel

_START_SECONDS = 120.0
# One thread each; and what a picture needed is kept for the next one (glibc): pages fresh from the kernel are dear.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(8 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(32 * 2**20),
}
_DYING_SECONDS = 2.0  # from hanging up to being gone


class DecoderProcess:
    """A process of worker.py, the channel to it, and the shared memory that it writes frames to."""

    def __init__(self, memory_bytes: int, timeout_seconds: float, hardware: bool) -> None:
        """Started and ready. Raises EngineError."""
        self.memory_bytes = memory_bytes
        self.timeout_seconds = timeout_seconds
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        self.memory = _memory()
        given = {
            "channel": theirs.fileno(),
            "memory": self.memory.fileno(),
            "memory_bytes": memory_bytes,
            "timeout_seconds": timeout_seconds,
            "hardware": hardware,
        }
        path = os.pathsep.join(place for place in sys.path if place)
        with theirs:
            # -P and the path: the same modules as here, and none from the folder that we happen to be in.
            self.popen = subprocess.Popen(
                [sys.executable, "-P", "-m", f"{__package__}.worker", json.dumps(given)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), self.memory.fileno()),
                env={**os.environ, "PYTHONPATH": path, **_ENVIRONMENT},
                process_group=0,  # Ctrl-C is for its parent: its parent ends it
            )
        self.channel.wait_at_most(_START_SECONDS)
        try:
            self.channel.receive()
        except (EOFError, OSError) as error:
            code = self.kill()
            raise EngineError(f"The process that decodes files did not start (exit code {code}).") from error

    def kill(self) -> int:
        """Ends the process for sure -> its exit code, that of a death before if it was dead. Idempotent."""
        try:
            self.popen.wait(_DYING_SECONDS if self._has_hung_up() else 0)
        except subprocess.TimeoutExpired:
            self.popen.kill()
        code = self.popen.wait()
        self.channel.close()
        self.memory.close()
        return code

    def _has_hung_up(self) -> bool:
        """Whether its end of the channel is closed: then it is dying, and its own exit code is worth waiting for."""
        if self.channel.socket.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(self.channel.socket, 0)
        return bool(poll.poll(0))


def _memory() -> BinaryIO:
    """An open file without a name, in memory where the system has such."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("vicmae-frames"), "r+b")
    return cast(BinaryIO, tempfile.TemporaryFile())
