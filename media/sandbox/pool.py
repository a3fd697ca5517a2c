"""A pool of decoding processes: a file that hangs, explodes or crashes the decoder costs that file only.

A process starts when it is first needed, lives on, and takes one call at a time. It is killed when it gives nothing for
too long, and replaced when it died; the kernel keeps it from taking more memory than it may. Processes end with this
one, however that ends. Guards against accidents and bombs; a decoder that was taken over is held back by no more than
the rights of the user it runs as.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Condition
from time import monotonic
from typing import Any, Unpack

from ..frames import Frames
from ..info import MediaInfo
from ..limits import MediaLimits
from ..reader import FrameOptions, Source
from .call import DecodingCall, stopped
from .process import DecoderProcess

_SLOWEST = 30.0  # seconds of work for a second of film, from which on a file counts as stuck


class Sandbox:
    """A Decoder (decoding.py) in at most `workers` processes; further callers wait for one to be free.

    memory_bytes     of data that a process may hold beyond the program itself
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
        self._free: list[DecoderProcess] = []
        self._all: set[DecoderProcess] = set()
        self._starting = 0
        self._closed = False
        self._change = Condition()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends all processes, also those at work: their callers get Overloaded. Idempotent."""
        with self._change:
            self._closed = True
            idle, self._free = self._free, []
            self._all.difference_update(idle)
            for process in self._all:
                process.popen.kill()  # its caller notices, and clears up
            self._change.notify_all()
        for process in idle:
            process.kill()

    def warm_up(self) -> None:
        """Starts one process, so that the first file does not wait for it. Raises EngineError."""
        self._release(self._acquire())

    @property
    def process_ids(self) -> list[int]:
        """Of the processes that live now."""
        with self._change:
            return sorted(process.popen.pid for process in self._all)

    def probe(self, source: Source, limits: MediaLimits) -> MediaInfo:
        with self._call("probe", source, limits, {}) as call:
            return MediaInfo(**call.answer(self.timeout_seconds)["info"])

    def frame_at(self, source: Source, seconds: float, limits: MediaLimits, shorter_side: int | None = None) -> Frames:
        with self._call("frame_at", source, limits, {"seconds": seconds, "shorter_side": shorter_side}) as call:
            return call.frames(call.answer(self.timeout_seconds))

    def thumbnail(self, source: Source, seconds: float, max_side: int, limits: MediaLimits) -> bytes:
        with self._call("thumbnail", source, limits, {"seconds": seconds, "max_side": max_side}) as call:
            (length,) = call.answer(self.timeout_seconds)["shape"]
            return call.read_shared((length,)).tobytes()

    def read_frames(
        self, source: Source, frames_per_second: float, limits: MediaLimits, **options: Unpack[FrameOptions]
    ) -> Generator[Frames, None, None]:
        on_info, start_seconds = options.pop("on_info", None), options.get("start_seconds", 0.0)
        given = {"frames_per_second": frames_per_second, **options}
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
                call.resume()

    @contextmanager
    def _call(self, name: str, source: Source, limits: MediaLimits, given: dict[str, Any]) -> Iterator[DecodingCall]:
        """One call in a process of its own, which is free again afterwards, or dead when the call was broken off."""
        process = self._acquire()
        call = DecodingCall(process, _name(source), lambda: self._closed)
        try:
            call.begin(name, source, limits, given)
            yield call
        finally:
            call.end()
            self._release(process)

    def _acquire(self) -> DecoderProcess:
        with self._change:
            while True:
                if self._closed:
                    raise stopped()
                while self._free:
                    process = self._free.pop()
                    if process.popen.poll() is None:
                        return process
                    self._all.discard(process)
                    process.kill()
                if len(self._all) + self._starting < self.workers:
                    self._starting += 1
                    break
                self._change.wait()
        return self._start()

    def _start(self) -> DecoderProcess:
        """A new process, counted among all. It takes a moment, so the others are not kept waiting for it."""
        try:
            process = DecoderProcess(self.memory_bytes, self.timeout_seconds, self.hardware)
        except BaseException:
            with self._change:
                self._starting -= 1
                self._change.notify()
            raise
        with self._change:
            self._starting -= 1
            self._all.add(process)
            if not self._closed:
                return process
        process.kill()
        raise stopped()

    def _release(self, process: DecoderProcess) -> None:
        with self._change:
            if process.popen.returncode is None and not self._closed:  # who died unseen is noticed by the next caller
                self._free.append(process)
            else:
                self._all.discard(process)
                process.kill()
            self._change.notify()


def _name(source: Source) -> str:
    return f"The file {source.name}" if isinstance(source, Path) else "The upload"
