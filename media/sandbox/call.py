"""One call in a decoding process: the request, its answers, and errors as the classes they were over there."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import (
    CorruptMedia,
    InvalidRequest,
    MediaError,
    MediaTooLarge,
    NotFound,
    Overloaded,
    UnsupportedMedia,
    VicmaeError,
)
from ..frames import Frames
from ..limits import MediaLimits
from ..reader import Source
from .channel import Message
from .process import DecoderProcess

_ERRORS = {kind.__name__: kind for kind in (CorruptMedia, UnsupportedMedia, MediaTooLarge, NotFound, InvalidRequest)}


class DecodingCall:
    """One call in a process, and what became of that process if it did not answer.

    name       of the file, for messages
    is_closed  whether the sandbox was closed meanwhile
    """

    def __init__(self, process: DecoderProcess, name: str, is_closed: Callable[[], bool]) -> None:
        self._process = process
        self._name = name
        self._is_closed = is_closed
        self._state: Literal["working", "pausing", "done"] = "done"

    def begin(self, name: str, source: Source, limits: MediaLimits, given: dict[str, Any]) -> None:
        """Raises MediaTooLarge, CorruptMedia, Overloaded."""
        request: Message = {"call": name, "limits": vars(limits), "given": given}
        if isinstance(source, Path):
            self._send({**request, "path": os.path.abspath(source)})
            return
        limits.check_bytes(len(source))
        self._send(request, source)

    def answer(self, timeout_seconds: float) -> Message:
        """What the process answers within that time. Raises MediaError, NotFound, InvalidRequest, Overloaded."""
        self._process.channel.wait_at_most(max(timeout_seconds, 0.001))
        try:
            answer, _ = self._process.channel.receive()
        except TimeoutError as error:
            self._process.kill()
            raise self._late() from error
        except (EOFError, OSError) as error:
            raise self._death() from error
        self._state = "pausing" if "more" in answer else "done"
        if "error" not in answer:
            return answer
        if answer["error"] == "MemoryError":
            self._process.kill()
            raise MediaTooLarge(
                f"{self._name} takes more memory to decode than the {self._process.memory_bytes:,} bytes that "
                "decoding may use (decode_memory_bytes). Send a smaller version, or raise the limit.",
                "decode_memory_bytes",
            )
        if answer["error"] not in _ERRORS:
            raise CorruptMedia(
                f"{self._name} stopped the decoder ({answer.get('message')}). "
                "Send it again from its source, or convert it."
            )
        refusal = _ERRORS[answer["error"]](str(answer.get("message")))
        if isinstance(refusal, MediaTooLarge):
            refusal.limit = str(answer.get("limit", ""))
        raise refusal

    def resume(self) -> None:
        self._send({"next": True})

    def end(self) -> None:
        """Leaves the process ready for the next call; one that is still at work is killed."""
        if self._state == "pausing":
            try:
                self._process.channel.send({"stop": True})
            except OSError:
                self._process.kill()
        elif self._state == "working":
            self._process.kill()

    def frames(self, answer: Message) -> Frames:
        shape = tuple(int(n) for n in answer["shape"])
        return Frames(self.read_shared(shape), np.array(answer["seconds"], np.float64), bool(answer["incomplete"]))

    def read_shared(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """A copy of what the process wrote to the shared memory."""
        data = np.empty(shape, np.uint8)
        flat, read = data.data.cast("B"), 0
        while read < len(flat):
            count = os.preadv(self._process.memory.fileno(), [flat[read:]], read)
            if count == 0:
                self._process.kill()
                raise self._death()
            read += count
        return data

    def _send(self, message: Message, file: bytes = b"") -> None:
        self._state = "working"
        self._process.channel.wait_at_most(self._process.timeout_seconds)
        try:
            self._process.channel.send(message, file)
        except OSError as error:
            raise self._death() from error

    def _late(self) -> MediaError:
        return MediaTooLarge(
            f"{self._name} kept the decoder at work for {self._process.timeout_seconds:g} seconds without a further "
            "frame (decode_timeout_seconds). Convert it, for example to H.264 in MP4, or raise the limit.",
            "decode_timeout_seconds",
        )

    def _death(self) -> VicmaeError:
        if self._is_closed():
            return stopped()
        code = self._process.kill()
        if code == -signal.SIGALRM:
            return self._late()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return CorruptMedia(
            f"{self._name} crashed the decoder ({how}); nothing else was harmed. "
            "Send it again from its source, or convert it."
        )


def stopped() -> Overloaded:
    return Overloaded("The program is stopping: nothing more is decoded. Try again when it runs.")
