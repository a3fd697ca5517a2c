"""A collection's vectors as Parquet or npz, for other tools and back: a row a stored frame, with uri and seconds.

The file names the model's fingerprint, and is taken in only as a new collection of that model. It holds no pictures:
items of uploads can be found after an import, but not shown. Either way it passes through memory in pieces; the two
forms stand in exchange_npz.py and exchange_parquet.py. snapshot.py is the backup.
"""

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ...errors import Conflict, InvalidRequest, NotFound, StorageError
from ...media.spec import InputSpec
from ..aliases import check_name
from ..atomic import atomic_file, scratch_folder
from ..catalog import Moments, NewItem, count_items, count_vectors
from ..collection import Collection
from ..library import Library, Model, make_collection, open_folder
from ..paths import storage_errors, uri_path
from . import exchange_npz
from .exchange_rows import FACTS, FRAME, Facts, FileFormat, Form, form_of

FORMATS = ("vicmae-vectors-1", "vicmae-vectors-2")  # those that are read; the last one is written
BATCH_FRAMES = 2_000  # that are stored in one transaction
MAGIC: dict[bytes, Form] = {b"PK\3\4": "npz", b"PAR1": "parquet"}


def export_vectors(collection: Collection, out: Path) -> tuple[int, int]:
    """Writes .npz or .parquet by the name's ending, complete when it returns -> items, frames. InvalidRequest."""
    form = form_of(out)
    if not out.parent.is_dir() or out.is_dir():
        raise InvalidRequest(f"{out} cannot be written: expected a file in a folder that exists.")
    with storage_errors(f"{out} cannot be written"), atomic_file(out) as file:
        return export_to(collection, file, form)


def export_to(collection: Collection, file: BinaryIO, form: Form) -> tuple[int, int]:
    """Everything of one moment into an open file, oldest vector first -> items, frames. Raises OSError."""
    about = {
        "format": FORMATS[-1],
        "model": collection.model,
        "fingerprint": collection.fingerprint,
        "spec": collection.spec.to_dict(),
    }
    with collection.catalog.read() as db:
        file_format_of(form).write(db, about, file)
        return count_items(db), count_vectors(db)


def import_vectors(library: Library, path: Path, name: str, called: str | None = None) -> Collection:
    """A new collection with the items of an exported file, bound to the fingerprint that the file names.

    It is there when it is complete, and not before. called: how errors name the file. Raises NotFound, Conflict when
    the name is taken, InvalidRequest for another file; then nothing is left behind.
    """
    if not path.is_file():
        raise NotFound(f"There is no file {path}.")
    if check_name(name) in {*library.names(), *library.aliases.all()}:
        raise Conflict(f"The name {name!r} is taken. Import into a new collection.")
    refused = f"{called or path} cannot be taken in: expected a file that `vicmae collections export` wrote"
    try:
        with path.open("rb") as file:
            form = MAGIC.get(file.read(4))
        if form is None:
            raise InvalidRequest(f"{refused}, npz or Parquet.")
        with file_format_of(form).read(path) as (about, pieces), scratch_folder(library.folder) as folder:
            if about.get("format") not in FORMATS:
                raise InvalidRequest(f"{refused}, of the format {FORMATS[-1]}.")
            model = Model(str(about["model"]), str(about["fingerprint"]), InputSpec.from_dict(about["spec"]))
            make_collection(folder, name, model)
            with closing(open_folder(folder)) as collection:
                for batch in _batches(_new_items(pieces, model.spec.dim)):
                    collection.add_many(batch)
            return library.adopt(folder, name)
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise InvalidRequest(f"{refused} ({error}).") from error
    except OSError as error:
        raise StorageError(f"{called or path} cannot be read: {error.strerror or error}.") from error


def file_format_of(form: Form) -> FileFormat:
    """How to write and read a form. InvalidRequest where Parquet cannot be had."""
    if form == "npz":
        return exchange_npz
    if find_spec("pyarrow") is None:
        raise InvalidRequest("Parquet needs pyarrow. Run: pip install '.[parquet]', or use npz.")
    from . import exchange_parquet

    return exchange_parquet


def _new_items(pieces: Iterable[tuple[Facts, Moments]], dim: int) -> Iterator[NewItem]:
    """Each item with all its frames. ValueError, KeyError or TypeError for what does not fit together."""
    seen: set[str] = set()
    for item_id, own in groupby(pieces, lambda piece: piece[0]["id"]):
        if item_id in seen:
            raise ValueError(f"the frames of {item_id!r} do not stand together")
        seen.add(item_id)
        facts, parts = zip(*own, strict=True)
        if any(part.vectors.shape[1] != dim for part in parts):
            raise ValueError(f"its vectors do not have the {dim} numbers of its model")
        yield _new_item(facts[0], parts)


def _new_item(facts: Facts, parts: Sequence[Moments]) -> NewItem:
    values = {name: facts[name] for name in FACTS}
    # The bytes of an upload are not in the file: the item has no file any more.
    is_file = values["uri"].startswith("file://")
    values["uri"] = values["uri"] if is_file else f"imported:{values['id']}"
    frame: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in FRAME}
    if (np.abs(np.linalg.norm(frame["vectors"], axis=1) - 1) > 1e-2).any():
        raise ValueError(f"vectors of {values['id']!r} that are not of unit length")
    return NewItem(
        **values,
        path=uri_path(values["uri"]) if is_file else Path("/imported") / values["id"],
        mtime_ns=0,
        metadata=facts["metadata"],
        **frame,
    )


def _batches(items: Iterable[NewItem]) -> Iterator[list[NewItem]]:
    batch: list[NewItem] = []
    frames = 0
    for item in items:
        batch.append(item)
        frames += len(item.vectors)
        if frames >= BATCH_FRAMES:
            yield batch
            batch, frames = [], 0
    yield batch
