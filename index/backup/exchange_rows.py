"""What an exported file holds, whatever its form: items one after another, each with its frames. Values only."""

import json
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, cast, get_args

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRequest
from ..catalog import Item, Moments, Transaction

# Of an item, beside its metadata; the files themselves stay where they are.
FACTS = tuple(name for name in Item.__dataclass_fields__ if name not in ("path", "frames", "metadata"))
FRAME = {"vectors": "<f4", "start_seconds": "<f8", "end_seconds": "<f8", "informative": "<f4"}  # as in Moments
CHUNK_ROWS = 10_000  # read and written together
Form = Literal["npz", "parquet"]
Facts = dict[str, Any]  # FACTS and metadata of an item
# about: format, model, fingerprint, spec; and pieces of one item after another, in order.
Contents = tuple[dict[str, Any], Iterator[tuple[Facts, Moments]]]


class FileFormat(Protocol):
    """A form of file. Reading raises ValueError, KeyError or TypeError for what does not fit together."""

    def write(self, db: Transaction, about: dict[str, Any], file: BinaryIO) -> None: ...

    def read(self, path: Path) -> AbstractContextManager[Contents]: ...


def form_of(out: Path) -> Form:
    """By the ending of a name that was chosen. InvalidRequest."""
    form = out.suffix.removeprefix(".")
    if form not in get_args(Form):
        raise InvalidRequest(f"{out} ends in {out.suffix or 'nothing'!r}; expected .npz or .parquet.")
    return cast(Form, form)


def facts_of(row: tuple[Any, ...]) -> Facts:
    """A row of FACTS and metadata as the catalog holds them."""
    return {**dict(zip(FACTS, row, strict=False)), "metadata": json.loads(row[len(FACTS)])}


def runs(owners: NDArray[Any]) -> list[int]:
    """owners (n,), equal for the frames of one item -> the places at which each item's frames begin, and n."""
    return [0, *(np.flatnonzero(owners[1:] != owners[:-1]) + 1).tolist(), len(owners)]


def split(facts: Iterable[Facts], edges: list[int], frame: dict[str, NDArray[Any]]) -> Iterator[tuple[Facts, Moments]]:
    """Columns of frames, by the names of FRAME, as the pieces of the items between the edges."""
    for own, first, last in zip(facts, edges, edges[1:], strict=False):
        yield own, Moments(**{name: frame[name][first:last].astype(kind) for name, kind in FRAME.items()})
