"""What an exported file holds, whatever its form: items one after another, each with its frames. Values only."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, Protocol, cast, get_args

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRequest
from ..catalog import Transaction

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
CHUNK_ROWS = 10_000  # read and written together
Form = Literal["npz", "parquet"]


class Frames(NamedTuple):
    """start_seconds, end_seconds (n,) float64; informative (n,) float32; vectors (n, D) float32 of unit length."""

    start_seconds: NDArray[np.float64]
    end_seconds: NDArray[np.float64]
    informative: NDArray[np.float32]
    vectors: NDArray[np.float32]


Facts = dict[str, Any]  # FACTS and metadata of an item


@dataclass(frozen=True)
class Read:
    """What a file holds. about: format, model, fingerprint, spec. pieces: of one item after another, in order."""

    about: dict[str, Any]
    pieces: Iterator[tuple[Facts, Frames]]


class Way(Protocol):
    """A form of file. Reading raises ValueError, KeyError or TypeError for what does not fit together."""

    def write(self, db: Transaction, about: dict[str, Any], file: BinaryIO) -> None: ...

    def read(self, path: Path) -> AbstractContextManager[Read]: ...


def form_of(out: Path) -> Form:
    """By the ending of a name that was chosen. InvalidRequest."""
    for form in get_args(Form):
        if out.suffix == f".{form}":
            return cast(Form, form)
    raise InvalidRequest(f"{out} ends in {out.suffix or 'nothing'!r}; expected .npz or .parquet.")


def facts_of(row: tuple[Any, ...]) -> Facts:
    """A row of FACTS and metadata as the catalog holds them."""
    return {**dict(zip(FACTS, row, strict=False)), "metadata": json.loads(row[len(FACTS)])}
