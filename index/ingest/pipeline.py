"""Ingest: files in, items in a collection. One file with ingest_file, many with ingest_many.

A file that cannot be read is an Outcome with a reason, never an exception; a disk that cannot be written or
an engine that cannot run is an exception, since no other file would fare better. Each file is committed by
itself, vectors and ledger together: what a crash interrupts the next run does, and nothing is done twice.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event, Lock, Thread
from typing import Any, Literal

import numpy as np

from ...export.engine import Engine
from ...media.decoding import HERE, Decoder
from ...media.limits import MediaLimits
from ...media.sampling import Sampling, sample_ends
from ..catalog.items import Moments, NewItem
from ..catalog.ledger import LedgerRow, record
from ..collection import Collection
from .folding import fold
from .reader import Chunk, Reading, Stage, Task, Unreadable, check_unchanged, read

DECODERS = 2
WAITING_CHUNKS = 4  # decoded, and waiting for the engine

# (frames embedded, frames expected); the expectation is a guess from the duration.
Progress = Callable[[int, int], None]
FileProgress = Callable[[Path, int, int], None]


@dataclass(frozen=True)
class Outcome:
    """What became of a file, after it was committed. `stage` and `reason` say where and why it failed."""

    path: Path
    uri: str
    state: Literal["added", "updated", "unchanged", "failed"]
    item_id: str
    frames: int = 0
    stage: Stage | None = None
    reason: str | None = None


def ingest_file(
    collection: Collection,
    engine: Engine,
    path: Path,
    *,
    uri: str | None = None,
    name: str | None = None,
    item_id: str | None = None,
    metadata: dict[str, Any] | None = None,
    frames_per_second: float = 2.0,
    sampling: Sampling = "rate",
    limits: MediaLimits | None = None,
    decoder: Decoder = HERE,
    on_progress: Progress | None = None,
) -> Outcome:
    """Takes one file into the collection; it is on disk when this returns.

    Raises StorageError, EngineError, and InvalidRequest for an unusable item_id or metadata.
    """
    reading = Reading(Task.of(path, uri, name, item_id, metadata))
    for chunk in read(reading, collection, frames_per_second, sampling, limits or MediaLimits(), decoder):
        _embed(engine, [(reading, chunk)])
        if on_progress is not None:
            on_progress(*_progress(reading, frames_per_second))
    return _commit(reading, collection, frames_per_second, sampling)


def ingest_many(
    collection: Collection,
    engine: Engine,
    paths: Sequence[Path | Task],
    *,
    frames_per_second: float = 2.0,
    sampling: Sampling = "rate",
    limits: MediaLimits | None = None,
    decoder: Decoder = HERE,
    on_progress: FileProgress | None = None,
) -> Generator[Outcome, None, None]:
    """Takes many files, by their own names or by those of a Task.

    Threads decode ahead while the engine works, in bounded memory, in no promised order.
    An Outcome is given after its file is on disk. Closing the generator early, or an exception such as
    Ctrl-C, stops the threads; files under way are left for the next run.
    """
    limits = limits or MediaLimits()
    tasks = iter([path if isinstance(path, Task) else Task.of(path) for path in paths])
    waiting: Queue[_Message] = Queue(WAITING_CHUNKS)
    stop, turn = Event(), Lock()

    def next_task() -> Task | None:
        with turn:
            return None if stop.is_set() else next(tasks, None)

    def decode() -> None:
        try:
            while (task := next_task()) is not None:
                reading = Reading(task)
                for chunk in read(reading, collection, frames_per_second, sampling, limits, decoder):
                    if not _put(waiting, (reading, chunk), stop):
                        return
                _put(waiting, (reading, None), stop)
        except BaseException as error:  # whatever it is, it belongs to the caller's thread
            _put(waiting, error, stop)

    threads = [Thread(target=decode, name=f"decode-{i}", daemon=True) for i in range(DECODERS)]
    for thread in threads:
        thread.start()
    try:
        left = len(paths)
        while left:
            batch = _take(waiting, engine.max_batch)
            _embed(engine, [(reading, chunk) for reading, chunk in batch if chunk is not None])
            for reading, chunk in batch:
                if chunk is None:
                    left -= 1
                    yield _commit(reading, collection, frames_per_second, sampling)
                elif on_progress is not None:
                    on_progress(reading.task.path, *_progress(reading, frames_per_second))
    except KeyboardInterrupt:
        decoder.close()  # nobody waits for files that are being decoded
        raise
    finally:
        stop.set()
        for thread in threads:
            thread.join()


_Part = tuple[Reading, Chunk | None]  # None: this file is complete
_Message = _Part | BaseException


def _put(waiting: "Queue[_Message]", message: _Message, stop: Event) -> bool:
    """Waits for room; False when nobody will take it any more."""
    while not stop.is_set():
        try:
            waiting.put(message, timeout=0.1)
            return True
        except Full:
            continue
    return False


def _take(waiting: "Queue[_Message]", max_pictures: int) -> list[_Part]:
    """Waits for one message, and takes what else is there up to one batch of the engine."""
    batch: list[_Part] = []
    pictures = 0
    message = waiting.get()
    while True:
        if isinstance(message, BaseException):
            raise message
        batch.append(message)
        pictures += len(message[1].pixels) if message[1] is not None else 0
        if pictures >= max_pictures or len(batch) >= max_pictures:
            return batch
        try:
            message = waiting.get_nowait()
        except Empty:
            return batch


def _embed(engine: Engine, parts: list[tuple[Reading, Chunk]]) -> None:
    """Embeds the chunks of any files together, and hands each reading its own vectors."""
    if not parts:
        return
    vectors = engine.embed(np.concatenate([chunk.pixels for _, chunk in parts]))
    ends = np.cumsum([len(chunk.pixels) for _, chunk in parts])
    for (reading, chunk), own in zip(parts, np.split(vectors, ends[:-1]), strict=True):
        if not np.isfinite(own).all():
            reading.failure = Unreadable("embed", "The model gave numbers that are not finite for it.")
        reading.vectors.append(own)
        reading.seconds.append(chunk.seconds)
        reading.informative.append(chunk.informative)


def _progress(reading: Reading, frames_per_second: float) -> tuple[int, int]:
    duration_seconds = reading.info.duration_seconds if reading.info else 0.0
    return reading.frames, max(round(duration_seconds * frames_per_second), reading.frames)


def _commit(reading: Reading, collection: Collection, frames_per_second: float, sampling: Sampling) -> Outcome:
    """Stores what came of a file, good or bad, item and ledger in one transaction."""
    task = reading.task
    try:
        if reading.failure is not None:
            raise reading.failure
        check_unchanged(reading)
        if reading.same is not None:
            record(collection.catalog, _ledger_row(reading, frames_per_second, sampling))
            return Outcome(task.path, task.uri, "unchanged", task.item_id, reading.same.frames)
        state: Literal["added", "updated"] = "updated" if collection.find_by_uri(task.uri) else "added"
        item = collection.add(
            _new_item(reading, frames_per_second, sampling), _ledger_row(reading, frames_per_second, sampling)
        )
        return Outcome(task.path, task.uri, state, item.id, item.frames)
    except Unreadable as failure:
        record(collection.catalog, _ledger_row(reading, frames_per_second, sampling, failure))
        return Outcome(task.path, task.uri, "failed", task.item_id, 0, failure.stage, failure.reason)


def _ledger_row(
    reading: Reading, frames_per_second: float, sampling: Sampling, failure: Unreadable | None = None
) -> LedgerRow:
    return LedgerRow(
        uri=reading.task.uri,
        size_bytes=reading.look.size_bytes,
        mtime_ns=reading.look.mtime_ns,
        frames_per_second=frames_per_second,
        sampling=sampling,
        state="failed" if failure else "done",
        stage=failure.stage if failure else None,
        reason=failure.reason if failure else None,
        item_id=reading.task.item_id,
    )


def _new_item(reading: Reading, frames_per_second: float, sampling: Sampling) -> NewItem:
    """The item of a file that was embedded, or that has a twin to copy from."""
    task, look = reading.task, reading.look
    common: dict[str, Any] = {
        "id": task.item_id,
        "uri": task.uri,
        "name": task.name,
        "path": task.path,
        "metadata": task.metadata,
        "created_at": task.created_at,
        "sha256": reading.sha256,
        "size_bytes": look.size_bytes,
        "mtime_ns": look.mtime_ns,
        "frames_per_second": frames_per_second,
        "sampling": sampling,
    }
    if reading.twin is not None:
        twin, moments = reading.twin
        return NewItem(
            **common,
            kind=twin.kind,
            mime=twin.mime,
            width=twin.width,
            height=twin.height,
            duration_seconds=twin.duration_seconds,
            **vars(fold(moments)),
        )
    info = reading.info
    if info is None or not reading.vectors:
        raise Unreadable("decode", "It gave no pictures.")
    seconds = np.concatenate(reading.seconds)
    duration_seconds = info.duration_seconds
    if info.kind == "video" and duration_seconds <= seconds[-1]:
        duration_seconds = float(seconds[-1]) + 1 / frames_per_second  # the file does not say, or says it wrong
    moments = fold(
        Moments(
            np.concatenate(reading.vectors),
            seconds,
            sample_ends(seconds, duration_seconds),
            np.concatenate(reading.informative),
        )
    )
    return NewItem(
        **common,
        kind=info.kind,
        mime=info.mime,
        width=info.width,
        height=info.height,
        duration_seconds=duration_seconds,
        **vars(moments),
    )
