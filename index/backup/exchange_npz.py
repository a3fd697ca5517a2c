"""Exported vectors as npz, written and read in pieces: numpy.load reads it as it is.

vectors (N, D) float32; start_seconds, end_seconds (N,) float64; informative (N,) float32; uri (N,) text
item (N,) int64 ascending, the place in items; items: facts and metadata of each, as the bytes of a JSON array
about: as in exchange_rows.Contents, as the bytes of JSON
"""

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..catalog import Moments, Transaction, count_vectors, frame_columns, item_columns, longest_uri, unpack_vectors
from .exchange_rows import CHUNK_ROWS, FACTS, FRAME, Contents, Facts, facts_of, runs, split

TEXT_CHARS = 1 << 16
MAX_ITEM_CHARS = 1 << 20  # of one item's JSON

Array = NDArray[Any]


def write(db: Transaction, about: dict[str, Any], file: BinaryIO) -> None:
    """Column by column: each is read from the catalog, in the order of the vectors, and written as it comes."""
    count, dim = count_vectors(db), about["spec"]["dim"]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:

        def put(name: str, kind: str, shape: tuple[int, ...], blocks: Iterable[bytes]) -> None:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                header = {"descr": kind, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(member, header)
                member.writelines(blocks)

        def put_column(name: str, kind: str, column: str, made: Callable[[list[Any]], Any], *width: int) -> None:
            chunks = ([row[0] for row in rows] for rows in frame_columns(db, [column]))
            put(name, kind, (count, *width), (np.asarray(made(chunk), kind).tobytes() for chunk in chunks))

        told = json.dumps(about).encode()
        put("about", "|u1", (len(told),), [told])
        put("items", "|u1", (sum(map(len, _items_json(db))),), _items_json(db))
        for name in ("start_seconds", "end_seconds", "informative"):
            put_column(name, FRAME[name], name, list)
        put_column("uri", f"<U{max(1, longest_uri(db))}", "uri", list)
        frames = np.fromiter((row[0] for row in item_columns(db, ["frames"])), np.int64)
        put("item", "<i8", (count,), [np.repeat(np.arange(len(frames)), frames).astype("<i8").tobytes()])
        put_column("vectors", FRAME["vectors"], "vector", lambda blobs: unpack_vectors(blobs, dim), dim)


@contextmanager
def read(path: Path) -> Iterator[Contents]:
    """The file's columns side by side, a piece of each at a time."""
    with ExitStack() as stack:
        archive = stack.enter_context(zipfile.ZipFile(path))

        def column(name: str) -> _Column:
            return _Column(stack.enter_context(archive.open(f"{name}.npy")))

        about = json.loads(column("about").file.read())
        items = _objects(io.TextIOWrapper(column("items").file, "utf-8"))
        yield about, _pieces(column("item"), {name: column(name) for name in FRAME}, items)


class _Column:
    """An array of an npz, read from its beginning on."""

    def __init__(self, file: IO[bytes]) -> None:
        """ValueError for what is no array of numbers."""
        self.file = file
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        self.shape, in_columns, self.dtype = read(file)
        if in_columns or self.dtype.kind not in "fiu" or len(self.shape) not in (1, 2):
            raise ValueError("an array that is no row after row of numbers")

    def next(self, rows: int) -> Array:
        """The next rows; fewer than asked for at the end of the file."""
        row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:]))
        raw = self.file.read(rows * row_bytes)
        return np.frombuffer(raw, self.dtype).reshape(-1, *self.shape[1:])


def _pieces(item: _Column, frame: dict[str, _Column], items: Iterator[Facts]) -> Iterator[tuple[Facts, Moments]]:
    """Frames of one item after another, whose places must ascend by one."""
    if {column.shape[0] for column in frame.values()} != {item.shape[0]} or len(frame["vectors"].shape) != 2:
        raise ValueError("arrays of different lengths")
    at, facts = -1, Facts()
    for _ in range(0, item.shape[0], CHUNK_ROWS):
        places = item.next(CHUNK_ROWS)
        edges = runs(places)
        owners = []
        for place in places[edges[:-1]].tolist():
            if place != at:
                at, facts = at + 1, next(items, Facts())
                if place != at or not facts:
                    raise ValueError("frames that are not in the order of its items")
            owners.append(facts)
        yield from split(owners, edges, {name: column.next(CHUNK_ROWS) for name, column in frame.items()})


def _objects(text: IO[str]) -> Iterator[Facts]:
    """The objects of a JSON array, one at a time."""
    decoder, held = json.JSONDecoder(), ""
    while piece := text.read(TEXT_CHARS):
        held += piece
        while held := held.lstrip("[, \n"):
            try:
                found, end = decoder.raw_decode(held)
            except json.JSONDecodeError:
                break  # it goes on in the next piece
            held = held[end:]
            yield found
        if len(held) > MAX_ITEM_CHARS:
            raise ValueError("items that are not JSON objects")


def _items_json(db: Transaction) -> Iterator[bytes]:
    """A JSON array of all items, in the order of their vectors, piece by piece."""
    yield b"["
    for number, row in enumerate(item_columns(db, (*FACTS, "metadata"))):
        yield (", " if number else "").encode() + json.dumps(facts_of(row)).encode()
    yield b"]"
