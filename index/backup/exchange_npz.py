"""Exported vectors as npz, written and read in pieces: numpy.load reads it as it is.

vectors (N, D) float32; start_seconds, end_seconds (N,) float64; informative (N,) float32; uri (N,) text
item (N,) int64 ascending, the place in items; items: facts and metadata of each, as the bytes of a JSON array
about: as in exchange_rows.Read, as the bytes of JSON
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

from ..catalog import Transaction, count_vectors, frame_columns, item_columns, longest_uri, unpack_vectors
from .exchange_rows import CHUNK_ROWS, FACTS, Facts, Frames, Read, facts_of

TEXT_CHARS = 1 << 16
MAX_ITEM_CHARS = 1 << 20  # of one item's JSON
COLUMNS = {"start_seconds": "<f8", "end_seconds": "<f8", "informative": "<f4"}

Array = NDArray[Any]


def write(db: Transaction, about: dict[str, Any], file: BinaryIO) -> None:
    """Column by column: each is read from the catalog, in the order of the vectors, and written as it comes."""
    dim = about["spec"]["dim"]
    count = count_vectors(db)

    def column(name: str, make: Callable[[list[Any]], Array]) -> Iterator[Array]:
        for chunk in frame_columns(db, [name]):
            yield make([row[0] for row in chunk])

    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        told = np.frombuffer(json.dumps(about).encode(), np.uint8)
        _put(archive, "about", told.dtype, told.shape, [told])
        _put(archive, "items", np.dtype("u1"), (sum(map(len, _items_json(db))),), _bytes(_items_json(db)))
        for name, kind in COLUMNS.items():
            _put(archive, name, np.dtype(kind), (count,), column(name, np.array))
        text = np.dtype(f"<U{max(1, longest_uri(db))}")
        _put(archive, "uri", text, (count,), column("uri", lambda rows: np.array(rows, text)))
        _put(
            archive, "item", np.dtype("<i8"), (count,), _places(column("media_id", lambda rows: np.array(rows, object)))
        )
        vectors = column("vector", lambda rows: unpack_vectors(rows, dim))
        _put(archive, "vectors", np.dtype("<f4"), (count, dim), vectors)


@contextmanager
def read(path: Path) -> Iterator[Read]:
    """The file's columns side by side, a piece of each at a time."""
    with ExitStack() as stack:
        archive = stack.enter_context(zipfile.ZipFile(path))
        names = ("item", *COLUMNS, "vectors")
        columns = [_Column(stack.enter_context(archive.open(f"{name}.npy"))) for name in names]
        items = _Column(stack.enter_context(archive.open("items.npy"))).file
        about = _Column(stack.enter_context(archive.open("about.npy"))).file.read()
        yield Read(json.loads(about), _pieces(columns, _objects(io.TextIOWrapper(items, "utf-8"))))


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


def _pieces(columns: list[_Column], items: Iterator[Facts]) -> Iterator[tuple[Facts, Frames]]:
    """Frames of one item after another, whose places must ascend by one."""
    if len({column.shape[0] for column in columns}) != 1 or len(columns[-1].shape) != 2:
        raise ValueError("arrays of different lengths")
    at, facts = -1, Facts()
    for _ in range(0, columns[0].shape[0], CHUNK_ROWS):
        place, starts, ends, informative, vectors = (column.next(CHUNK_ROWS) for column in columns)
        edges = [0, *(np.flatnonzero(np.diff(place)) + 1).tolist(), len(place)]
        for first, last in zip(edges, edges[1:], strict=False):
            if place[first] != at:
                at += 1
                facts = next(items, Facts())
                if place[first] != at or not facts:
                    raise ValueError("frames that are not in the order of its items")
            part = slice(first, last)
            yield (
                facts,
                Frames(
                    starts[part].astype(np.float64),
                    ends[part].astype(np.float64),
                    informative[part].astype(np.float32),
                    vectors[part].astype(np.float32),
                ),
            )


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


def _bytes(pieces: Iterable[bytes]) -> Iterator[Array]:
    for piece in pieces:
        yield np.frombuffer(piece, np.uint8)


def _places(owners: Iterable[Array]) -> Iterator[Array]:
    """The ids of the frames' items, equal ones together, as numbers that ascend."""
    last, at = None, -1
    for chunk in owners:
        begins = np.array([owner != before for before, owner in zip([last, *chunk[:-1]], chunk, strict=True)])
        yield at + np.cumsum(begins)
        last, at = chunk[-1], at + int(begins.sum())


def _put(
    archive: zipfile.ZipFile, name: str, dtype: "np.dtype[Any]", shape: tuple[int, ...], blocks: Iterable[Array]
) -> None:
    """An array of that type and shape, written block by block."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, header)
        for block in blocks:
            member.write(np.ascontiguousarray(block, dtype).tobytes())
