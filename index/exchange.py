"""A collection's vectors as Parquet or npz, for other tools and back: a row a stored frame, with uri and seconds.

The file names the model's fingerprint, and is taken in only as a new collection of that model. It holds no pictures:
items of uploads can be found after an import, but not shown. All of it passes through memory. snapshot.py is the
backup.
"""

import json
import os
import secrets
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import Conflict, InvalidRequest, NotFound, StorageError
from ..media.spec import InputSpec
from .aside import folder_aside
from .collection import Collection
from .items import NewItem
from .library import Library, Model, make_collection, open_folder
from .packing import unpack_vectors
from .scan import uri_path

FORMAT = "vicmae-vectors-1"
FACTS = (  # of an item, beside its metadata
    "id",
    "uri",
    "name",
    "sha256",
    "kind",
    "mime",
    "size_bytes",
    "width",
    "height",
    "duration_seconds",
    "frames_per_second",
    "sampling",
    "created_at",
)


@dataclass(frozen=True)
class Table:
    """about: format, model, fingerprint, spec. items: facts and metadata of each. Of frames, N of them in all:

    item  (N,) int64, the place in items; vectors (N, D) float32 of unit length
    start_seconds, end_seconds  (N,) float64; informative (N,) float32
    """

    about: dict[str, Any]
    items: list[dict[str, Any]]
    item: NDArray[np.int64]
    start_seconds: NDArray[np.float64]
    end_seconds: NDArray[np.float64]
    informative: NDArray[np.float32]
    vectors: NDArray[np.float32]


def export_vectors(collection: Collection, out: Path) -> tuple[int, int]:
    """Writes .npz or .parquet by the name's ending, complete when it returns -> items, frames. InvalidRequest."""
    write, _ = _ways(out)
    if not out.parent.is_dir() or out.is_dir():
        raise InvalidRequest(f"{out} cannot be written: expected a file in a folder that exists.")
    table = _table(collection)
    aside = out.with_name(f".{out.name}-{secrets.token_hex(4)}")
    try:
        with aside.open("xb") as file:
            write(table, file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(out)
    except OSError as error:
        raise StorageError(f"{out} cannot be written: {error.strerror or error}.") from error
    finally:
        aside.unlink(missing_ok=True)
    return len(table.items), len(table.vectors)


def import_vectors(library: Library, path: Path, name: str) -> Collection:
    """A new collection with the items of an exported file, bound to the fingerprint that the file names.

    Raises NotFound, Conflict when the name is taken, InvalidRequest for another file; then nothing is left behind.
    """
    _, read = _ways(path)
    if not path.is_file():
        raise NotFound(f"There is no file {path}.")
    refused = f"{path} cannot be taken in: expected a file that `vicmae collections export` wrote"
    try:
        table = read(path)
        if table.about.get("format") != FORMAT:
            raise InvalidRequest(f"{refused}, of the format {FORMAT}.")
        model = Model(
            str(table.about["model"]), str(table.about["fingerprint"]), InputSpec.from_dict(table.about["spec"])
        )
        items = list(_new_items(table))
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise InvalidRequest(f"{refused} ({error}).") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}.") from error
    if any(new.vectors.shape[1] != model.spec.dim for new in items):
        raise InvalidRequest(f"{refused}: its vectors do not have the {model.spec.dim} numbers of its model.")
    if name in {known.name for known in library.list()} | library.aliases().keys():
        raise Conflict(f"The name {name!r} is taken. Import into a new collection.")
    with folder_aside(library.folder) as folder:
        make_collection(folder, name, model)
        with closing(open_folder(folder)) as collection:
            for new in items:
                collection.add(new)
        return library.adopt(folder, name)


def _table(collection: Collection) -> Table:
    """Everything of one moment, oldest item first."""
    facts = ", ".join(FACTS)
    with collection.catalog.read() as db:
        rows = db.execute(f"SELECT {facts}, metadata FROM media ORDER BY created_at, id").fetchall()
        items = [{**dict(zip(FACTS, row, strict=False)), "metadata": json.loads(row[-1])} for row in rows]
        place = {item["id"]: i for i, item in enumerate(items)}
        frames = db.execute(
            "SELECT media_id, start_seconds, end_seconds, informative, vector FROM frames ORDER BY vector_id"
        ).fetchall()
    owners, starts, ends, informative, blobs = zip(*frames, strict=True) if frames else ((), (), (), (), ())
    dim = collection.spec.dim
    about = {
        "format": FORMAT,
        "model": collection.model,
        "fingerprint": collection.fingerprint,
        "spec": collection.spec.to_dict(),
    }
    return Table(
        about,
        items,
        np.array([place[owner] for owner in owners], np.int64),
        np.array(starts, np.float64),
        np.array(ends, np.float64),
        np.array(informative, np.float32),
        unpack_vectors(list(blobs), dim) if blobs else np.zeros((0, dim), np.float32),
    )


def _new_items(table: Table) -> Iterator[NewItem]:
    """Each item with its frames in order. ValueError, KeyError or TypeError for what does not fit together."""
    order = np.argsort(table.item, kind="stable")
    bounds = np.searchsorted(table.item[order], np.arange(len(table.items) + 1))
    if len(order) and not 0 <= table.item.min() <= table.item.max() < len(table.items):
        raise ValueError("frames of items that are not in it")
    for i, facts in enumerate(table.items):
        own = order[bounds[i] : bounds[i + 1]]
        values = {name: facts[name] for name in FACTS}
        # The bytes of an upload are not in the file: the item has no file any more.
        is_file = values["uri"].startswith("file://")
        values["uri"] = values["uri"] if is_file else f"imported:{values['id']}"
        vectors = table.vectors[own]
        if (np.abs(np.linalg.norm(vectors, axis=1) - 1) > 1e-2).any():
            raise ValueError(f"vectors of {values['id']!r} that are not of unit length")
        yield NewItem(
            **values,
            path=uri_path(values["uri"]) if is_file else Path("/imported") / values["id"],
            mtime_ns=0,
            metadata=facts["metadata"],
            vectors=vectors,
            start_seconds=table.start_seconds[own],
            end_seconds=table.end_seconds[own],
            informative=table.informative[own],
        )


def _write_npz(table: Table, file: BinaryIO) -> None:
    uris = np.array([item["uri"] for item in table.items] or [""])
    np.savez(
        file,
        about=np.frombuffer(json.dumps(table.about).encode(), np.uint8),
        items=np.frombuffer(json.dumps(table.items).encode(), np.uint8),
        uri=uris[table.item],
        item=table.item,
        start_seconds=table.start_seconds,
        end_seconds=table.end_seconds,
        informative=table.informative,
        vectors=table.vectors,
    )


def _read_npz(path: Path) -> Table:
    with np.load(path, allow_pickle=False) as held:
        return Table(
            json.loads(held["about"].tobytes()),
            json.loads(held["items"].tobytes()),
            held["item"].astype(np.int64),
            held["start_seconds"].astype(np.float64),
            held["end_seconds"].astype(np.float64),
            held["informative"].astype(np.float32),
            held["vectors"].astype(np.float32),
        )


def _write_parquet(table: Table, file: BinaryIO) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def of_items(values: list[Any], kind: Any) -> Any:
        """A column that says of each frame what its item is; each value is kept once."""
        return pa.DictionaryArray.from_arrays(pa.array(table.item, pa.int32()), pa.array(values, kind))

    kinds = {"size_bytes": pa.int64(), "width": pa.int32(), "height": pa.int32()}
    kinds |= {"duration_seconds": pa.float64(), "frames_per_second": pa.float64()}
    columns = {name: of_items([item[name] for item in table.items], kinds.get(name, pa.string())) for name in FACTS}
    columns["metadata"] = of_items([json.dumps(item["metadata"]) for item in table.items], pa.string())
    columns |= {name: pa.array(getattr(table, name)) for name in ("start_seconds", "end_seconds", "informative")}
    columns["vectors"] = pa.FixedSizeListArray.from_arrays(
        pa.array(table.vectors.reshape(-1)), table.about["spec"]["dim"]
    )
    pq.write_table(pa.table(columns).replace_schema_metadata({"vicmae": json.dumps(table.about)}), file)


def _read_parquet(path: Path) -> Table:
    import pyarrow.parquet as pq

    held = pq.read_table(path)
    about = json.loads((held.schema.metadata or {})[b"vicmae"])
    ids = held.column("id").to_pylist()
    first = {item_id: row for row, item_id in reversed(list(enumerate(ids)))}
    place = {item_id: i for i, item_id in enumerate(dict.fromkeys(ids))}
    firsts = np.array([first[item_id] for item_id in place], np.int64)
    rows = held.select([*FACTS, "metadata"]).take(firsts).to_pylist()
    flat = held.column("vectors").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return Table(
        about,
        [{**row, "metadata": json.loads(row["metadata"])} for row in rows],
        np.array([place[item_id] for item_id in ids], np.int64),
        held.column("start_seconds").to_numpy().astype(np.float64),
        held.column("end_seconds").to_numpy().astype(np.float64),
        held.column("informative").to_numpy().astype(np.float32),
        flat.astype(np.float32).reshape(len(ids), -1) if ids else np.zeros((0, about["spec"]["dim"]), np.float32),
    )


Write = Callable[[Table, BinaryIO], None]
Read = Callable[[Path], Table]
WAYS: dict[str, tuple[Write, Read]] = {".npz": (_write_npz, _read_npz), ".parquet": (_write_parquet, _read_parquet)}


def _ways(path: Path) -> tuple[Write, Read]:
    """How to write and read a file of this ending."""
    if path.suffix not in WAYS:
        raise InvalidRequest(f"{path} ends in {path.suffix or 'nothing'!r}; expected .npz or .parquet.")
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise InvalidRequest("Parquet needs pyarrow. Run: pip install 'vicmae[parquet]', or use .npz.")
    return WAYS[path.suffix]
