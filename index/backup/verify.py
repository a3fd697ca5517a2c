"""Do the parts of a collection agree? Catalog, ledger, uploads, pictures and index are compared; nothing is changed.

A fault is something that cannot be so, told in a sentence. A note is worth knowing and no fault, such as files of the
user's that are gone. Reads every vector; opens no media.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ...errors import StorageError
from ..catalog import NAMED, row_counts, row_faults, unpack_rows, vector_faults, vector_ids, vectors_with_ids
from ..collection import Collection
from ..paths import is_gone
from ..vectors import allowed_of

SAMPLE = 200  # vectors that are looked up in the index
SCORE_TOLERANCE = 2e-3  # of the cosine of a stored vector with itself


@dataclass
class Verdict:
    """counts: items, frames, ledger, uploads, picture_files, vectors_in_index."""

    counts: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        return not self.faults

    def to_dict(self) -> dict[str, Any]:
        return {"is_well": self.is_well, **asdict(self)}


def verify(collection: Collection) -> Verdict:
    """Compares all parts with one another. A catalog that cannot be read at all is a fault too."""
    verdict = Verdict()
    try:
        with collection.catalog.read() as db:
            verdict.faults += row_faults(db)
            unusable = list(vector_faults(db, collection.spec.dim))
            verdict.faults += unusable
            verdict.counts = row_counts(db)
        _files(collection, verdict)
        _pictures(collection, verdict)
        if not unusable:  # an index is made of usable vectors only
            _index(collection, verdict)
    except StorageError as error:
        verdict.faults.append(str(error))
    return verdict


def _files(collection: Collection, verdict: Verdict) -> None:
    """Uploaded files are there and as large as they were; what else lies there; the user's files that are gone."""
    known: set[str] = set()
    gone = 0
    for item in (item for page in collection.pages(1000) for item in page):
        if not item.path.is_relative_to(collection.uploads):
            gone += is_gone(item.path)
            continue
        known.add(item.path.name)
        upload = f"The uploaded file of {item.id!r} ({item.name})"
        try:
            found = item.path.stat().st_size
        except OSError as error:
            verdict.faults.append(f"{upload} is not there: {error.strerror}.")
            continue
        if found != item.size_bytes:
            verdict.faults.append(f"{upload} has {found} bytes, expected {item.size_bytes}.")
    verdict.counts["uploads"] = len(known)
    if gone:
        verdict.notes.append(
            f"{gone} indexed files are no longer where they were; `vicmae index FOLDER --prune` removes them."
        )
    there = {path.name for path in collection.uploads.iterdir()} if collection.uploads.is_dir() else set()
    if spare := len(there - known):
        verdict.notes.append(
            f"{spare} uploaded files belong to no item yet: jobs wait, or the next start removes them."
        )


def _pictures(collection: Collection, verdict: Verdict) -> None:
    """Every picture file that the catalog names is there, and as long as all of its pictures."""
    stats = collection.stats()
    verdict.counts["picture_files"] = stats["items"] - stats["without_pictures"]
    if faults := collection.pictures.faults():
        examples = "; ".join(f"{item_id}: {fault}" for item_id, fault in [*faults.items()][:NAMED])
        verdict.faults.append(
            f"The pictures of {len(faults)} items cannot be read ({examples}). "
            f"`vicmae collections fill-pictures {collection.name}` makes them anew from their files."
        )
    if spare := collection.pictures.spare():
        verdict.notes.append(
            f"{spare} picture files belong to no item yet: they are being written, or the next start removes them."
        )


def _index(collection: Collection, verdict: Verdict) -> None:
    """The index holds as many vectors as the catalog, and finds those that it is asked for."""
    index = collection.index
    index.refresh()
    with collection.catalog.read() as db:
        ids = vector_ids(db)
    verdict.counts["vectors_in_index"] = len(index)
    if len(index) != len(ids):
        verdict.faults.append(
            f"The index holds {len(index)} vectors and the catalog {len(ids)} (unless something was written just now). "
            "Delete the collection's folder 'index': it is made anew."
        )
    for name, there in index.status()["damaged"].items():
        verdict.notes.append(f"The part {name} of the index is damaged and was made anew: {there}.")
    chosen = ids[np.linspace(0, len(ids) - 1, min(SAMPLE, len(ids))).astype(np.int64)] if len(ids) else ids
    missed = []
    with collection.catalog.read() as db:
        for found_ids, raw in vectors_with_ids(db, np.unique(chosen)):
            for vector_id, vector in zip(found_ids, unpack_rows(raw, collection.spec.dim), strict=True):
                scores, found = index.search(vector[None], 1, allowed_of(vector_id[None]))
                if found[0, 0] != vector_id or abs(scores[0, 0] - 1) > SCORE_TOLERANCE:
                    missed.append(vector_id)
    if missed:
        verdict.faults.append(
            f"{len(missed)} of {len(chosen)} vectors looked up in the index are others than the catalog's (ids "
            f"{', '.join(map(str, missed[:NAMED]))}…). Delete the collection's folder 'index': it is made anew."
        )
