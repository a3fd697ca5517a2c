"""The program of a decoding process: decodes what it is asked to, one call at a time, within limits of the kernel.

Run as `python -m vicmae.media.sandbox.worker`; knows nothing but its two open files: the channel to its parent and the
memory in which it lays frames. It ends with its parent.
"""

import json
import os
import resource
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...errors import InvalidRequest, MediaError, MediaTooLarge, NotFound
from ..decoding import InProcess
from ..frames import Frames
from ..info import MediaInfo
from ..limits import MediaLimits
from ..reader import Source
from .channel import Channel, Message

_KEPT_BYTES = 64 * 2**20  # of shared memory that stays from one answer to the next
_MAX_FILE_BYTES = 2**40  # the parent has its own limits
_GRACE_SECONDS = 10.0  # the parent should have noticed by then


class Worker:
    """channel: to the parent; memory: a file that both hold open, into which frames are written."""

    def __init__(self, channel: Channel, memory: int, decoder: InProcess, timeout_seconds: float) -> None:
        self.channel = channel
        self.memory = memory
        self.decoder = decoder
        self.timeout_seconds = timeout_seconds

    def run(self) -> None:
        """Answers until the parent hangs up, or until memory has run out once: then a fresh process is better."""
        self.channel.send({"ready": True})
        _fall_silent()
        while True:
            try:
                request, file = self.channel.receive(_MAX_FILE_BYTES)
                self._alarm()
                self._answer(request, Path(request["path"]) if "path" in request else file)
            except (MediaError, NotFound, InvalidRequest) as error:
                told = {"error": type(error).__name__, "message": str(error)}
                self._send({**told, "limit": error.limit} if isinstance(error, MediaTooLarge) else told)
            except MemoryError:
                self._send({"error": "MemoryError"})
                return
            except (EOFError, ConnectionError):
                return
            # A parser that stumbles in a way nobody thought of costs the file.
            except Exception as error:
                self._send({"error": "Exception", "message": f"{type(error).__name__}: {error}"})

    def _answer(self, request: Message, source: Source) -> None:
        limits = MediaLimits(**request["limits"])
        given: dict[str, Any] = request["given"]
        match request["call"]:
            case "probe":
                self._send({"info": asdict(self.decoder.probe(source, limits))})
            case "frame_at":
                frames = self.decoder.frame_at(source, given["seconds"], limits, given["shorter_side"])
                self._send(self._laid_frames(frames))
            case "thumbnail":
                jpeg = self.decoder.thumbnail(source, given["seconds"], given["max_side"], limits)
                self._send(self._laid(memoryview(jpeg), (len(jpeg),), []))
            case "read_frames":
                self._stream(source, limits, given)

    def _stream(self, source: Source, limits: MediaLimits, given: dict[str, Any]) -> None:
        """One chunk at a time with `more`, the next when it is asked for; at the end an empty message.

        The first one carries what the file is. A picture is one chunk without `more`, and that is all.
        """
        news: list[MediaInfo] = []
        chunks = self.decoder.read_frames(source, given.pop("frames_per_second"), limits, **given, on_info=news.append)
        try:
            for frames in chunks:
                told = self._laid_frames(frames)
                if news:
                    info = news.pop()
                    told["info"] = asdict(info)
                    if info.kind == "image":
                        self._send(told)
                        return
                self._send({**told, "more": True})
                if "stop" in self.channel.receive()[0]:
                    return
                self._alarm()
            self._send({})
        finally:
            chunks.close()

    def _laid_frames(self, frames: Frames) -> Message:
        told = self._laid(frames.data.data, frames.data.shape, frames.seconds.tolist())
        return {**told, "incomplete": frames.incomplete}

    def _laid(self, data: memoryview, shape: tuple[int, ...], seconds: list[float]) -> Message:
        """The data in the shared memory, and the message that says so."""
        flat = data.cast("B")
        if os.fstat(self.memory).st_size > max(_KEPT_BYTES, flat.nbytes):
            os.ftruncate(self.memory, 0)
        written = 0
        while written < flat.nbytes:
            written += os.pwrite(self.memory, flat[written:], written)
        return {"shape": shape, "seconds": seconds}

    def _alarm(self) -> None:
        """The kernel ends this process when nobody else does: a parent that was killed cannot."""
        signal.setitimer(signal.ITIMER_REAL, self.timeout_seconds + _GRACE_SECONDS)

    def _send(self, message: Message) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.channel.send(message)


def main() -> None:
    """argv[1]: JSON with channel, memory (file numbers), memory_bytes, timeout_seconds and hardware."""
    given = json.loads(sys.argv[1])
    channel = socket.socket(fileno=given["channel"])
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, args=(channel.fileno(),), daemon=True).start()
    _limit_memory(given["memory_bytes"])
    decoder = InProcess(given["hardware"])
    try:
        Worker(Channel(channel), given["memory"], decoder, given["timeout_seconds"]).run()
    except (EOFError, OSError):
        pass  # the parent hung up


def _fall_silent() -> None:
    """From here on libraries talk to nobody: what they print of broken files is no news to the user."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stderr.fileno())


def _end_with_parent(channel: int) -> None:
    """Waits for the other end to close, also while a file is being decoded."""
    poll = select.poll()
    poll.register(channel, 0)
    poll.poll()
    os._exit(0)


def _limit_memory(memory_bytes: int) -> None:
    """So much for data, beyond what the program itself has taken so far. Shared memory does not count."""
    resource.setrlimit(resource.RLIMIT_DATA, (_data_bytes() + memory_bytes,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _data_bytes() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    return 1024 * next(_numbers(status.read_text(), "VmData:"))


def _numbers(text: str, name: str) -> Iterator[int]:
    for line in text.splitlines():
        if line.startswith(name):
            yield int(line.split()[1])


if __name__ == "__main__":
    main()
