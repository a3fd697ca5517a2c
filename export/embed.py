"""Files -> vectors on disk: what `vicmae embed` does, without a collection. Knows no index and no server."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidRequest, MediaError, NotFound
from ..media.decoding import HERE, Decoder
from ..media.limits import MediaLimits
from ..media.preprocess import enough_side, to_pixels
from ..media.sampling import Sampling
from .engine import Engine


@dataclass(frozen=True)
class Rows:
    """uri (N,) str, start_seconds (N,) float64, vectors (N, D) float32: a row an image, a clip or a sampled frame."""

    uri: NDArray[np.str_]
    start_seconds: NDArray[np.float64]
    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.uri)


def embed_file(
    engine: Engine,
    path: Path,
    frames_per_second: float,
    whole_clip: bool,
    limits: MediaLimits,
    decoder: Decoder = HERE,
    sampling: Sampling = "rate",
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """A picture or video -> start_seconds (T,), vectors (T, D). `whole_clip` gives one row: the mean, unit length."""
    seconds, vectors = [], []
    small = enough_side(engine.spec)
    for frames in decoder.read_frames(path, frames_per_second, limits, shorter_side=small, sampling=sampling):
        seconds.append(frames.seconds)
        vectors.append(engine.embed(to_pixels(frames, engine.spec)))
    rows = np.concatenate(vectors)
    if not whole_clip:
        return np.concatenate(seconds), rows
    mean = rows.mean(axis=0, keepdims=True)
    return np.zeros(1), np.asarray(mean / np.linalg.norm(mean), np.float32)


def embed_files(
    engine: Engine,
    paths: list[Path],
    frames_per_second: float,
    whole_clip: bool,
    limits: MediaLimits,
    decoder: Decoder = HERE,
    sampling: Sampling = "rate",
) -> Iterator[tuple[Path, Rows | str]]:
    """Each file with its rows, or with the reason why it has none."""
    for path in paths:
        try:
            seconds, vectors = embed_file(engine, path, frames_per_second, whole_clip, limits, decoder, sampling)
        except (MediaError, NotFound) as error:
            yield path, str(error)
        else:
            yield path, Rows(np.full(len(seconds), str(path)), seconds, vectors)


def join(parts: list[Rows], dim: int) -> Rows:
    if not parts:
        return Rows(np.zeros(0, np.str_), np.zeros(0), np.zeros((0, dim), np.float32))
    return Rows(
        np.concatenate([p.uri for p in parts]),
        np.concatenate([p.start_seconds for p in parts]),
        np.concatenate([p.vectors for p in parts]),
    )


def check_out(out: Path) -> None:
    """Refuses a file that write_rows could not write, before hours of embedding are lost."""
    if out.suffix not in WRITERS:
        raise InvalidRequest(f"-o {out} ends in {out.suffix or 'nothing'!r}; expected .npz, .parquet or - (stdout).")
    if not out.parent.is_dir():
        raise InvalidRequest(f"-o {out}: there is no folder {out.parent}. Make it first.")
    if out.is_dir():
        raise InvalidRequest(f"-o {out} is a folder. Name a file.")
    if out.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise InvalidRequest("Parquet needs pyarrow. Run: pip install '.[parquet]', or write .npz.")


def write_rows(rows: Rows, out: Path) -> None:
    """Writes .npz or .parquet by the name's ending, aside and renamed; check_out says what is refused."""
    check_out(out)
    aside = out.with_name(out.name + ".partial")
    try:
        with aside.open("wb") as file:
            WRITERS[out.suffix](rows, file)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(out)
    except OSError as error:
        raise InvalidRequest(f"{out} cannot be written: {error.strerror}.") from error
    finally:
        aside.unlink(missing_ok=True)


def _write_npz(rows: Rows, file: BinaryIO) -> None:
    np.savez(file, uri=rows.uri, start_seconds=rows.start_seconds, vectors=rows.vectors)


def _write_parquet(rows: Rows, file: BinaryIO) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    dim = rows.vectors.shape[1]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.vectors.reshape(-1)), dim)
    columns = {
        "uri": pa.array(rows.uri.tolist()),
        "start_seconds": pa.array(rows.start_seconds),
        "vectors": vectors,
    }
    pq.write_table(pa.table(columns), file)


WRITERS = {".npz": _write_npz, ".parquet": _write_parquet}
