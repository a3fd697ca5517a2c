"""Decoding in children that can be killed: a file that hangs, explodes or crashes the decoder costs that file only.

A child starts when it is first needed, lives on, and takes one call at a time. It is killed when it gives nothing
for too long, and replaced when it died; the kernel keeps it from taking more memory than it may. Children end with
this process, however that ends. Guards against accidents and bombs; a decoder that was taken over is held back by
no more than the rights of the user it runs as.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Condition
from time import monotonic
from types import TracebackType
from typing import Any, BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import (
    CorruptMedia,
    EngineError,
    InvalidRequest,
    MediaError,
    MediaTooLarge,
    NotFound,
    Overloaded,
    UnsupportedMedia,
    VicmaeError,
)
from .frames import Frames
from .info import MediaInfo
from .limits import MediaLimits
from .reader import Source
from .sampling import Sampling
from .wire import Channel, Message

_ERRORS = {kind.__name__: kind for kind in (CorruptMedia, UnsupportedMedia, MediaTooLarge, NotFound, InvalidRequest)}
_START_SECONDS = 120.0
_SLOWEST = 30.0  # seconds of work for a second of film, from which on a file counts as stuck
# One thread each; and what a picture needed is kept for the next one (glibc): pages fresh from the kernel are dear.
_CHILDS_OWN = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(8 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(32 * 2**20),
}
_DYING_SECONDS = 2.0  # from hanging up to being gone


class Sandbox:
    """A Decoder (decoding.py) in at most `workers` children; further callers wait for one to be free.

    memory_bytes     of data that a child may hold beyond the program itself
    timeout_seconds  for which a file may give no further frame
    hardware         whether a video decoder of the machine's graphics processor may be used
    """

    def __init__(
        self,
        workers: int = 4,
        memory_bytes: int = 4 * 2**30,
        timeout_seconds: float = 60.0,
        hardware: bool = False,
    ) -> None:
        self.workers = workers
        self.memory_bytes = memory_bytes
        self.timeout_seconds = timeout_seconds
        self.hardware = hardware
        self._free: list[_Child] = []
        self._all: set[_Child] = set()
        self._starting = 0
        self._closed = False
        self._change = Condition()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all children, also those at work: their callers get Overloaded. Idempotent."""
        with self._change:
            self._closed = True
            idle, self._free = self._free, []
            self._all.difference_update(idle)
            for child in self._all:
                child.process.kill()  # its caller notices, and clears up
            self._change.notify_all()
        for child in idle:
            child.kill()

    def warm_up(self) -> None:
        """Starts one child, so that the first file does not wait for it. Raises EngineError."""
        self._dismiss(self._hire())

    @property
    def process_ids(self) -> list[int]:
        """Of the children that live now."""
        with self._change:
            return sorted(child.process.pid for child in self._all)

    def probe(self, source: Source, limits: MediaLimits) -> MediaInfo:
        with self._call("probe", source, limits, {}) as call:
            return MediaInfo(**call.answer(self.timeout_seconds)["info"])

    def frame_at(self, source: Source, seconds: float, limits: MediaLimits, shorter_side: int | None = None) -> Frames:
        with self._call("frame_at", source, limits, {"seconds": seconds, "shorter_side": shorter_side}) as call:
            return call.frames(call.answer(self.timeout_seconds))

    def thumbnail(self, source: Source, seconds: float, max_side: int, limits: MediaLimits) -> bytes:
        with self._call("thumbnail", source, limits, {"seconds": seconds, "max_side": max_side}) as call:
            (length,) = call.answer(self.timeout_seconds)["shape"]
            return call.laid((length,)).tobytes()

    def read_frames(
        self,
        source: Source,
        frames_per_second: float,
        limits: MediaLimits,
        *,
        start_seconds: float = 0.0,
        end_seconds: float | None = None,
        chunk: int = 16,
        shorter_side: int | None = None,
        sampling: Sampling = "rate",
        on_info: Callable[[MediaInfo], None] | None = None,
    ) -> Generator[Frames, None, None]:
        given = {
            "frames_per_second": frames_per_second,
            "start_seconds": start_seconds,
            "end_seconds": end_seconds,
            "chunk": chunk,
            "shorter_side": shorter_side,
            "sampling": sampling,
        }
        worked, shown_seconds = 0.0, 0.0
        with self._call("read_frames", source, limits, given) as call:
            while True:
                began = monotonic()
                left = self.timeout_seconds + _SLOWEST * shown_seconds - worked
                answer = call.answer(min(self.timeout_seconds, left))
                worked += monotonic() - began
                if not answer:
                    return
                if on_info is not None and "info" in answer:
                    on_info(MediaInfo(**answer["info"]))
                frames = call.frames(answer)
                shown_seconds = max(float(frames.seconds[-1]) - start_seconds, 0.0)
                yield frames
                if "more" not in answer:
                    return
                call.go_on()

    @contextmanager
    def _call(self, name: str, source: Source, limits: MediaLimits, given: dict[str, Any]) -> "Iterator[_Call]":
        """One call in a child of its own, which is free again afterwards, or dead when the call was broken off."""
        child = self._hire()
        call = _Call(self, child, _name(source))
        try:
            call.begin(name, source, limits, given)
            yield call
        finally:
            call.end()
            self._dismiss(child)

    def _hire(self) -> "_Child":
        with self._change:
            while True:
                if self._closed:
                    raise _stopped()
                while self._free:
                    child = self._free.pop()
                    if child.process.poll() is None:
                        return child
                    self._all.discard(child)
                    child.kill()
                if len(self._all) + self._starting < self.workers:
                    self._starting += 1
                    break
                self._change.wait()
        return self._started()

    def _started(self) -> "_Child":
        """A new child, counted among all. It takes a moment, so the others are not kept waiting for it."""
        try:
            child = _Child(self)
        except BaseException:
            with self._change:
                self._starting -= 1
                self._change.notify()
            raise
        with self._change:
            self._starting -= 1
            self._all.add(child)
            if not self._closed:
                return child
        child.kill()
        raise _stopped()

    def _dismiss(self, child: "_Child") -> None:
        with self._change:
            if child.process.returncode is None and not self._closed:  # who died unseen is noticed by the next caller
                self._free.append(child)
            else:
                self._all.discard(child)
                child.kill()
            self._change.notify()

    @property
    def is_closed(self) -> bool:
        return self._closed


class _Call:
    """A call under way, and what became of the child if it did not answer."""

    def __init__(self, sandbox: Sandbox, child: "_Child", name: str) -> None:
        self._sandbox = sandbox
        self._child = child
        self._name = name
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
        """What the child says within that time. Raises MediaError, NotFound, InvalidRequest, Overloaded."""
        self._child.channel.wait_at_most(max(timeout_seconds, 0.001))
        try:
            answer, _ = self._child.channel.receive()
        except TimeoutError as error:
            self._child.kill()
            raise self._late() from error
        except (EOFError, OSError) as error:
            raise self._death() from error
        self._state = "pausing" if "more" in answer else "done"
        if "error" not in answer:
            return answer
        if answer["error"] == "MemoryError":
            self._child.kill()
            raise MediaTooLarge(
                f"{self._name} takes more memory to decode than the {self._sandbox.memory_bytes:,} bytes that "
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

    def go_on(self) -> None:
        self._send({"next": True})

    def end(self) -> None:
        """Leaves the child ready for the next call; one that is still at work is killed."""
        if self._state == "pausing":
            try:
                self._child.channel.send({"stop": True})
            except OSError:
                self._child.kill()
        elif self._state == "working":
            self._child.kill()

    def frames(self, answer: Message) -> Frames:
        shape = tuple(int(n) for n in answer["shape"])
        return Frames(self.laid(shape), np.array(answer["seconds"], np.float64))

    def laid(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """A copy of what the child laid into the shared memory."""
        data = np.empty(shape, np.uint8)
        flat, read = data.data.cast("B"), 0
        while read < len(flat):
            count = os.preadv(self._child.memory.fileno(), [flat[read:]], read)
            if count == 0:
                self._child.kill()
                raise self._death()
            read += count
        return data

    def _send(self, message: Message, file: bytes = b"") -> None:
        self._state = "working"
        self._child.channel.wait_at_most(self._sandbox.timeout_seconds)
        try:
            self._child.channel.send(message, file)
        except OSError as error:
            raise self._death() from error

    def _late(self) -> MediaError:
        return MediaTooLarge(
            f"{self._name} kept the decoder at work for {self._sandbox.timeout_seconds:g} seconds without a further "
            "frame (decode_timeout_seconds). Convert it, for example to H.264 in MP4, or raise the limit.",
            "decode_timeout_seconds",
        )

    def _death(self) -> VicmaeError:
        if self._sandbox.is_closed:
            return _stopped()
        code = self._child.kill()
        if code == -signal.SIGALRM:
            return self._late()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return CorruptMedia(
            f"{self._name} crashed the decoder ({how}); nothing else was harmed. "
            "Send it again from its source, or convert it."
        )


class _Child:
    """A process of worker.py, the channel to it, and the memory in which it lays frames."""

    def __init__(self, sandbox: Sandbox) -> None:
        """Started and ready. Raises EngineError."""
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        self.memory = _memory()
        given = {
            "channel": theirs.fileno(),
            "memory": self.memory.fileno(),
            "memory_bytes": sandbox.memory_bytes,
            "timeout_seconds": sandbox.timeout_seconds,
            "hardware": sandbox.hardware,
        }
        path = os.pathsep.join(place for place in sys.path if place)
        with theirs:
            # -P and the path: the same modules as here, and none from the folder that we happen to be in.
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", f"{__package__}.worker", json.dumps(given)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), self.memory.fileno()),
                env={**os.environ, "PYTHONPATH": path, **_CHILDS_OWN},
                process_group=0,  # Ctrl-C is for us: we end our children ourselves
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
            self.process.wait(_DYING_SECONDS if self._has_hung_up() else 0)
        except subprocess.TimeoutExpired:
            self.process.kill()
        code = self.process.wait()
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


def _name(source: Source) -> str:
    return f"The file {source.name}" if isinstance(source, Path) else "The upload"


def _stopped() -> Overloaded:
    return Overloaded("The program is stopping: nothing more is decoded. Try again when it runs.")
