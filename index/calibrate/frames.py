"""Frames: edited pictures asked of the files they were taken from, and of the others. Rows of what was found."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...export.engine import Engine
from ...media.frames import Frames
from ...media.preprocess import to_pixels
from ..matching import features_of, is_same_picture, query_features_of, verify
from ..pictures import from_jpeg
from .edits import EDITS, edited
from .material import Material, Source

COPIES_SKIPPED = 5  # files that are themselves copies of the picture, before the next one counts as a stranger

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class FrameRow:
    """A picture, edited and asked for: cosines of the nearest frame of its own file and of another, and to the mean."""

    edit: str
    own: float
    other: float
    background: float


def mean_of(material: Material) -> Floats:
    """(D,) float32: the mean of the files' mean vectors, so that a long clip counts as one."""
    return np.asarray(np.mean([moments.vectors.mean(axis=0) for moments in material.moments], axis=0), np.float32)


def asked_vectors(
    material: Material, engine: Engine, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Iterator[tuple[Source, dict[str, Floats]]]:
    """For each source, its vector (D,) after each edit."""
    for done, source in enumerate(material.sources):
        on_progress(done, len(material.sources))
        pictures = [edited(source.picture, name) for name in EDITS]
        pixels = np.concatenate([to_pixels(Frames(p[None], np.zeros(1)), engine.spec) for p in pictures])
        yield source, dict(zip(EDITS, engine.embed(pixels), strict=True))


def frame_rows(material: Material, asked: list[tuple[Source, dict[str, Floats]]]) -> list[FrameRow]:
    """A row for each source and edit. What is verified as a copy of the source is no stranger, whatever its file."""
    library = np.concatenate([moments.vectors for moments in material.moments])
    counts = [len(moments.vectors) for moments in material.moments]
    owners = np.repeat(np.arange(len(counts)), counts)
    small = [jpeg for of_a_file in material.small for jpeg in of_a_file]
    mean = mean_of(material)
    rows = []
    for source, vectors in asked:
        copies = {source.owner}
        for edit, vector in vectors.items():
            cosines = library @ vector
            own = float(cosines[owners == source.owner].max())
            other = _stranger(source, cosines, owners, small, copies)
            rows.append(FrameRow(edit, own, other, float(vector @ mean)))
    return rows


def _stranger(
    source: Source, cosines: Floats, owners: NDArray[np.int64], small: list[bytes], copies: set[int]
) -> float:
    """The highest cosine to a frame of a file that holds no copy of the source; adds those that do to `copies`."""
    for _ in range(COPIES_SKIPPED):
        strangers = np.where(np.isin(owners, list(copies)), -np.inf, cosines)
        nearest = int(strangers.argmax())
        found = verify(query_features_of(source.picture), features_of(from_jpeg(small[nearest])))
        if found is None or not is_same_picture(found):
            break
        copies.add(int(owners[nearest]))
    return float(np.max(np.where(np.isin(owners, list(copies)), -1.0, cosines)))
