"""The rivals: perceptual hashes of every picture that is indexed, asked the same pictures by Hamming distance."""

import io
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...errors import MediaError
from ...media.decoding import Decoder
from ...media.frames import Picture
from ...media.limits import MediaLimits
from ..paths import file_uri
from .ask import Hit, Question

Bits = NDArray[np.bool_]
FRAMES_PER_SECOND = 2.0  # of clips, as they are indexed by default
SIDE = 256  # pixels of the short side at which pictures are hashed


class HashRival:
    """Answers a question as the product does: the nearest pictures, one a file, with full confidence or none."""

    def __init__(self, name: str, hash_of: Callable[[Picture], Bits], most: int) -> None:
        """hash_of: picture (H, W, 3) uint8 -> (bits,); most: bits that may differ of two that are called copies."""
        self.name = name
        self._hash_of = hash_of
        self._most = most
        self._places: list[tuple[str, float]] = []
        self._hashes: list[Bits] = []
        self._all: Bits | None = None

    def take(self, uri: str, seconds: float, picture: Picture) -> None:
        """What a file shows at that second."""
        self._places.append((uri, seconds))
        self._hashes.append(self._hash_of(picture))
        self._all = None

    def ask(self, question: Question) -> list[Hit]:
        """The first `limit` files; of a picture only."""
        if self._all is None:
            self._all = np.stack(self._hashes)
        picture = np.asarray(Image.open(io.BytesIO(question.data)).convert("RGB"))
        differs = (self._all != self._hash_of(picture)).sum(axis=1)
        hits: dict[str, Hit] = {}
        for place in np.argsort(differs, kind="stable"):
            uri, seconds = self._places[place]
            sure = float(differs[place] <= self._most)
            hits.setdefault(uri, {"uri": uri, "name": uri, "start_seconds": seconds, "confidence": sure})
            if len(hits) == question.limit:
                break
        return list(hits.values())


def installed_rivals() -> tuple[list[HashRival], list[str]]:
    """-> pHash and PDQ, and sentences about those that are not installed."""
    found, missing = [], []
    if find_spec("imagehash") is not None:
        import imagehash

        # Two pictures of which at most 10 of 64 bits differ are usually called copies.
        found.append(HashRival("pHash", lambda p: imagehash.phash(Image.fromarray(p)).hash.ravel(), 10))
    else:
        missing.append("pHash is left out: imagehash is not installed (pip install '.[bench]').")
    if find_spec("pdqhash") is not None:
        import pdqhash

        # 31 of 256 bits, as PDQ's authors recommend (github.com/facebook/ThreatExchange, hashing.pdf).
        found.append(HashRival("PDQ", lambda p: pdqhash.compute(np.ascontiguousarray(p))[0].astype(bool), 31))
    else:
        missing.append("PDQ is left out: pdqhash is not installed (pip install '.[bench]').")
    return found, missing


def take_all(found: Sequence[HashRival], paths: Sequence[Path], decoder: Decoder, limits: MediaLimits) -> Iterator[int]:
    """Hashes what the files show; gives how many are done. What cannot be read is left out."""
    for done, path in enumerate(paths, 1):
        try:
            for frames in decoder.read_frames(path, FRAMES_PER_SECOND, limits, shorter_side=SIDE):
                for picture, seconds in zip(frames.data, frames.seconds, strict=True):
                    for rival in found:
                        rival.take(file_uri(path), float(seconds), picture)
        except MediaError:
            pass
        yield done
