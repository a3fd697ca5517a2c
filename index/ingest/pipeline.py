"""The steps of ingest: read -> embed -> write. One file with ingest_file, many with ingest_many.

A file that cannot be read is an Outcome with a reason, never an exception; a disk that cannot be written or
an engine that cannot run is an exception, since no other file would fare better. Each file is committed by
itself, vectors and ledger together: what a crash interrupts the next run does, and nothing is done twice.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event, Lock, Thread

import numpy as np

from ...export.engine import Engine
from ..collection import Collection
from .options import IngestOptions
from .reader import Chunk, Reading, Task, Unreadable, read
from .write import Outcome, write

WRITERS = 4  # files written at once, so that they wait for the disk together

# (frames embedded, frames expected); the expectation is a guess from the duration.
Progress = Callable[[int, int], None]
FileProgress = Callable[[Path, int, int], None]


def ingest_file(
    collection: Collection,
    engine: Engine,
    file: Path | Task,
    options: IngestOptions | None = None,
    on_progress: Progress | None = None,
) -> Outcome:
    """Takes one file into the collection, by its own names or by those of a Task; it is on disk when this returns.

    Raises StorageError, EngineError, InvalidRequest for unusable metadata, and Conflict where a Task must not replace.
    """
    options = options or IngestOptions()
    reading = Reading(file if isinstance(file, Task) else Task.of(file))
    for chunk in read(reading, collection, options):
        _embed(engine, [(reading, chunk)])
        if on_progress is not None:
            on_progress(*_progress(reading, options))
    return write(reading, collection, options, engine.calibration.folding_cosine)


def ingest_many(
    collection: Collection,
    engine: Engine,
    files: Sequence[Path | Task],
    options: IngestOptions | None = None,
    on_progress: FileProgress | None = None,
) -> Generator[Outcome, None, None]:
    """Takes many files, by their own names or by those of a Task, in no promised order.

    As many files as the decoder has workers are decoded while the engine works, in bounded memory.
    An Outcome is given after its file is on disk. Closing the generator early, or an exception such as
    Ctrl-C, stops the threads; files that are being written are finished, others under way are left for the next run.
    """
    options = options or IngestOptions()
    tasks = [file if isinstance(file, Task) else Task.of(file) for file in files]
    left = len(tasks)
    same_cosine = engine.calibration.folding_cosine
    with _decoding(tasks, collection, options) as waiting, ThreadPoolExecutor(WRITERS, "write") as writers:
        while left:
            batch = _take(waiting, engine.max_batch)
            parts = [(reading, chunk) for reading, chunk in batch if chunk is not None]
            _embed(engine, parts)
            if on_progress is not None:
                for reading, _ in parts:
                    on_progress(reading.task.path, *_progress(reading, options))
            complete = [reading for reading, chunk in batch if chunk is None]
            left -= len(complete)
            yield from writers.map(lambda reading: write(reading, collection, options, same_cosine), complete)


_Part = tuple[Reading, Chunk | None]  # None: this file is complete
_Message = _Part | BaseException


@contextmanager
def _decoding(tasks: Sequence[Task], collection: Collection, options: IngestOptions) -> "Iterator[Queue[_Message]]":
    """Threads that read the tasks' files into the queue, until the block ends."""
    workers = min(options.decoder.workers, len(tasks))
    waiting: Queue[_Message] = Queue(2 * workers)
    following, stop, turn = iter(tasks), Event(), Lock()

    def next_task() -> Task | None:
        with turn:
            return None if stop.is_set() else next(following, None)

    def decode() -> None:
        try:
            while (task := next_task()) is not None:
                reading = Reading(task)
                for chunk in read(reading, collection, options):
                    if not _put(waiting, (reading, chunk), stop):
                        return
                _put(waiting, (reading, None), stop)
        except BaseException as error:  # whatever it is, it belongs to the caller's thread
            _put(waiting, error, stop)

    threads = [Thread(target=decode, name=f"decode-{i}", daemon=True) for i in range(workers)]
    for thread in threads:
        thread.start()
    try:
        yield waiting
    except KeyboardInterrupt:
        options.decoder.close()  # nobody waits for files that are being decoded
        raise
    finally:
        stop.set()
        for thread in threads:
            thread.join()


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
        if chunk.end_seconds is not None:
            reading.end_seconds.append(chunk.end_seconds)


def _progress(reading: Reading, options: IngestOptions) -> tuple[int, int]:
    duration_seconds = reading.info.duration_seconds if reading.info else 0.0
    return reading.frames, max(round(duration_seconds * options.rate_for(duration_seconds)), reading.frames)
