"""Item, NewItem and Moments: what a collection holds, and what it is handed. Values only; knows no database."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRequest
from ...media.sampling import Sampling

Kind = Literal["image", "video"]

UPLOADS_FOLDER = "uploads"  # beside the catalog: bytes of uploaded files, deleted together with their item
ITEM_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")


@dataclass(frozen=True)
class ItemFacts:
    """What is told of a picture or video, whether it is stored yet or not. `path` is absolute."""

    id: str
    uri: str
    name: str
    path: Path
    sha256: str
    kind: Kind
    mime: str
    size_bytes: int
    width: int
    height: int
    duration_seconds: float
    frames_per_second: float


@dataclass(frozen=True)
class Item(ItemFacts):
    """One picture or video of a collection; its file may have vanished since. frames: vectors that are kept of it.

    note: how it is less than was asked for: incomplete, sampled more thinly.
    """

    sampling: Sampling
    frames: int
    metadata: dict[str, Any]
    created_at: str
    note: str | None = None


@dataclass(frozen=True, eq=False)
class PictureFile:
    """A picture file by its token; sizes (T,) int64: the bytes of each picture, in the order of the stored frames."""

    token: str
    sizes: NDArray[np.int64]

    @property
    def nbytes(self) -> int:
        return int(self.sizes.sum())


@dataclass(frozen=True)
class NewItem(ItemFacts):
    """What ingest hands to a collection.

    vectors        (T, D) float32, T >= 1, finite; stored with unit length
    start_seconds  (T,) float64 when each sampled frame is shown, ascending; 0.0 for an image
    end_seconds    (T,) float64 until when it stands for the video; several may share one vector (ingest/folding.py)
    informative    (T,) float32 in 0..1; near 0 for black and flat pictures
    metadata       None keeps what the item had before, or {} if it is new
    created_at     None keeps what the item had before, or is now if it is new
    pictures       the file of the T frames' pictures; None: none are kept
    replaces       whether it may take the place of an item of the same id and another uri; else that is a Conflict
    """

    mtime_ns: int
    vectors: NDArray[np.float32]
    start_seconds: NDArray[np.float64]
    end_seconds: NDArray[np.float64]
    informative: NDArray[np.float32]
    metadata: dict[str, Any] | None = None
    sampling: Sampling = "rate"
    created_at: str | None = None
    pictures: PictureFile | None = None
    note: str | None = None
    replaces: bool = True

    def __post_init__(self) -> None:
        check_item_id(self.id)
        frames = len(self.vectors)
        if self.vectors.ndim != 2 or frames == 0:
            raise ValueError(f"vectors must be (T, D) with T >= 1, got {self.vectors.shape}")
        if not np.isfinite(self.vectors).all():
            raise ValueError("vectors must be finite, got NaN or infinity")
        for name in ("start_seconds", "end_seconds", "informative"):
            if getattr(self, name).shape != (frames,):
                raise ValueError(f"{name} must be ({frames},), got {getattr(self, name).shape}")
        if self.pictures is not None and self.pictures.sizes.shape != (frames,):
            raise ValueError(f"pictures must be those of {frames} frames, got {self.pictures.sizes.shape}")


@dataclass(frozen=True)
class Moments:
    """The sampled frames of one item in time order; shapes as in NewItem, vectors with unit length."""

    vectors: NDArray[np.float32]
    start_seconds: NDArray[np.float64]
    end_seconds: NDArray[np.float64]
    informative: NDArray[np.float32]

    def part(self, first: int, last: int) -> "Moments":
        """Those from the place `first` to before `last`."""
        here = slice(first, last)
        return Moments(self.vectors[here], self.start_seconds[here], self.end_seconds[here], self.informative[here])

    def unfolded(self, frames_per_second: float) -> "Moments":
        """As if it had been sampled at that rate: a vector that stands for a longer stretch comes several times."""
        lengths = self.end_seconds - self.start_seconds
        times = np.maximum(np.rint(lengths * frames_per_second), 1).astype(np.int64)
        if (times == 1).all():
            return self
        places = np.repeat(np.arange(len(times)), times)
        turns = np.arange(len(places)) - np.repeat(np.cumsum(times) - times, times)
        steps = (lengths / times)[places]
        starts = self.start_seconds[places] + turns * steps
        return Moments(self.vectors[places], starts, starts + steps, self.informative[places])


def check_item_id(item_id: str) -> str:
    """item_id itself, or InvalidRequest when it could not stand in an address."""
    if not ITEM_ID.fullmatch(item_id):
        raise InvalidRequest(
            f"The item id {item_id!r} is not usable: 1 to 128 letters, digits, '.', '_', '~' or '-' are."
        )
    return item_id


def default_item_id(uri: str) -> str:
    """The id of an item nobody named: the same uri always gets the same one."""
    return "i" + hashlib.sha256(uri.encode()).hexdigest()[:20]
