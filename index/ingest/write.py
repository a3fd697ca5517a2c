"""The last step of ingest: what came of a file, good or bad, as item and ledger in one transaction."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...media.sampling import sample_ends
from ..catalog import LedgerRow, Moments, NewItem, record
from ..collection import Collection
from .folding import fold
from .options import IngestOptions
from .reader import Reading, Stage, Unreadable, check_unchanged


@dataclass(frozen=True)
class Outcome:
    """What became of a file, after it was committed. `stage` and `reason` say where and why it failed.

    note  how the item is less than was asked for (Item.note)
    """

    path: Path
    uri: str
    state: Literal["added", "updated", "unchanged", "failed"]
    item_id: str
    frames: int = 0
    stage: Stage | None = None
    reason: str | None = None
    note: str | None = None


def write(reading: Reading, collection: Collection, options: IngestOptions, same_cosine: float) -> Outcome:
    """Stores what came of a file, folded at same_cosine; it is on disk when this returns. Conflict where the task must
    not replace an item."""
    task = reading.task
    try:
        if reading.failure is not None:
            raise reading.failure
        check_unchanged(reading)
        row = _ledger_row(reading, options)
        if reading.same is not None:
            record(collection.catalog, row)
            return Outcome(task.path, task.uri, "unchanged", task.item_id, reading.same.frames, note=reading.same.note)
        state: Literal["added", "updated"] = "updated" if collection.find_by_uri(task.uri) else "added"
        new = _new_item(reading, options, same_cosine)
        item = collection.add(new, row, _pictures(reading, collection, options, new))
        return Outcome(task.path, task.uri, state, item.id, item.frames, note=item.note)
    except Unreadable as failure:
        record(collection.catalog, _ledger_row(reading, options, failure))
        return Outcome(task.path, task.uri, "failed", task.item_id, 0, failure.stage, failure.reason)
    finally:
        if reading.pictures is not None:
            reading.pictures.close()


def _pictures(reading: Reading, collection: Collection, options: IngestOptions, new: NewItem) -> Iterable[bytes] | None:
    """Those of the frames that are stored; None where none are kept, or there is no room for them."""
    if reading.pictures is None or (places := reading.pictures.places_at(new.start_seconds)) is None:
        return None
    if not collection.pictures.has_room(options.frame_store_max_bytes, reading.pictures.size_of(places)):
        return None
    return reading.pictures.read(places)


def _ledger_row(reading: Reading, options: IngestOptions, failure: Unreadable | None = None) -> LedgerRow:
    return LedgerRow(
        uri=reading.task.uri,
        size_bytes=reading.size_bytes,
        mtime_ns=reading.mtime_ns,
        frames_per_second=options.frames_per_second,
        sampling=options.sampling,
        state="failed" if failure else "done",
        stage=failure.stage if failure else None,
        reason=failure.reason if failure else None,
        item_id=reading.task.item_id,
    )


def _new_item(reading: Reading, options: IngestOptions, same_cosine: float) -> NewItem:
    """The item of a file that was embedded, or that has a twin to copy from. Raises Unreadable."""
    task = reading.task
    about, moments = _from_twin(reading) if reading.twin is not None else _from_vectors(reading, options)
    return NewItem(
        id=task.item_id,
        uri=task.uri,
        name=task.name,
        path=task.path,
        metadata=task.metadata,
        created_at=task.created_at,
        sha256=reading.sha256,
        size_bytes=reading.size_bytes,
        mtime_ns=reading.mtime_ns,
        sampling=options.sampling,
        replaces=task.replaces,
        **about,
        **vars(fold(moments, same_cosine)),
    )


_OF_BYTES = ("kind", "mime", "width", "height", "duration_seconds", "frames_per_second", "note")


def _from_twin(reading: Reading) -> tuple[dict[str, Any], Moments]:
    assert reading.twin is not None
    twin, moments = reading.twin
    return {name: getattr(twin, name) for name in _OF_BYTES}, moments


def _from_vectors(reading: Reading, options: IngestOptions) -> tuple[dict[str, Any], Moments]:
    info = reading.info
    if info is None or not reading.vectors:
        raise Unreadable("decode", "It gave no pictures.")
    seconds = np.concatenate(reading.seconds)
    duration_seconds = info.duration_seconds
    if info.kind == "video" and duration_seconds <= seconds[-1]:
        duration_seconds = float(seconds[-1]) + 1 / reading.frames_per_second  # the file says nothing, or says it wrong
    moments = Moments(
        np.concatenate(reading.vectors),
        seconds,
        np.concatenate(reading.end_seconds) if reading.end_seconds else sample_ends(seconds, duration_seconds),
        np.concatenate(reading.informative),
    )
    about = {"kind": info.kind, "mime": info.mime, "width": info.width, "height": info.height}
    about |= {"frames_per_second": reading.frames_per_second, "note": " ".join(reading.notes) or None}
    return about | {"duration_seconds": duration_seconds}, moments
