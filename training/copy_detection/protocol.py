"""Edited photos asked of a library that holds the originals, by vectors alone.

What is asked of what is drawn once (`prepare`), so that several encoders are asked the very same (`judge`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...errors import TrainingError
from ...export.engine import Engine
from ...media.edits import EDITS, Half, edited, half_of, shuffled
from ...media.frames import Frames, Picture
from ...media.preprocess import to_pixels
from .scores import CopyScores, EditScores, micro_ap, ranks_of

Embed = Callable[[list[Picture]], NDArray[np.float32]]
"""Pictures, (H, W, 3) uint8 RGB of any sizes -> vectors (N, D) float32, unit length."""
Pictures = Mapping[str, Picture]
"""Pictures, (H, W, 3) uint8 RGB, by name; may read a picture when it is asked for."""
Report = Callable[[int], None]
AT_ONCE = 64  # pictures handed to an encoder in one call
FEWEST_STRANGERS = 5  # four parts of a collage, and the one that is asked
FEWEST_PICTURES = 3 * FEWEST_STRANGERS


@dataclass(frozen=True)
class Prepared:
    """What is looked in and what is asked.

    pictures   the library, M pictures, and perhaps strangers
    library    the names of the library's pictures
    photos     those of the library that are edited and asked
    strangers  pictures in no library, edited and asked too: the right answer is none. The grounds of insets as well
    keep       whether edited pictures stay in memory for the next encoder
    """

    pictures: Pictures
    library: list[str]
    photos: Pictures
    strangers: Pictures
    edits: tuple[str, ...]
    seed: int
    keep: bool
    _kept: dict[str, tuple[list[Picture], list[Picture]]] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many pictures there are to embed."""
        return len(self.library) + len(self.edits) * (len(self.photos) + len(self.strangers))

    def asked(self, edit: str) -> tuple[list[Picture], list[Picture]]:
        """The photos and the strangers after that edit."""
        if edit in self._kept:
            return self._kept[edit]
        others = list(self.strangers.values())
        photos = [edited(edit, picture, name, others, self.seed) for name, picture in self.photos.items()]
        strangers = []
        for row, (name, picture) in enumerate(self.strangers.items()):
            apart = others[:row] + others[row + 1 :]  # nobody is the ground of its own inset
            strangers.append(edited(edit, picture, name, apart, self.seed))
        if self.keep:
            self._kept[edit] = photos, strangers
        return photos, strangers


def embed_with(engine: Engine) -> Embed:
    """An engine as it is asked here: pictures of any sizes, made square as its InputSpec says."""

    def embed(pictures: list[Picture]) -> NDArray[np.float32]:
        squares = [to_pixels(Frames(picture[None], np.zeros(1)), engine.spec) for picture in pictures]
        return engine.embed(np.concatenate(squares))

    return embed


def prepare(
    pictures: Pictures,
    *,
    strangers: Pictures | int = 50,
    queries: int = 100,
    half: Half | None = None,
    edits: Sequence[str] | None = None,
    seed: int = 0,
    askable: Callable[[str], bool] = lambda name: True,
    keep: bool = True,
) -> Prepared:
    """pictures -> a library, and what is asked of it.

    strangers  pictures that are in no library, at least 5. A number: so many are taken out of `pictures`, the same for
               both halves
    queries    photos that are edited and asked; fewer where there are not so many
    half       ask photos of this half only (half_of)
    edits      keys of EDITS, all if None
    seed       of the draw and of the edits
    askable    which names may be asked at all
    keep       keep edited pictures in memory

    Raises TrainingError where there are too few pictures.
    """
    order = shuffled(filter(askable, pictures), seed)
    taken: Sequence[str] = ()
    if isinstance(strangers, int):
        left = max(0, len(order) - strangers)
        order, taken = order[:left], order[left:]
        strangers = {name: pictures[name] for name in taken}
    if len(strangers) < FEWEST_STRANGERS:
        raise TrainingError(f"There are {len(strangers)} strangers; give at least {FEWEST_STRANGERS} pictures.")
    photos = [name for name in order if half in (None, half_of(name))][:queries]
    if not photos:
        which = f" of half {half}" if half else ""
        raise TrainingError(f"No picture{which} is left to be asked. Give a larger set, or fewer strangers.")
    return Prepared(
        pictures=pictures,
        library=[name for name in pictures if name not in taken],
        photos={name: pictures[name] for name in photos},
        strangers=dict(strangers),
        edits=tuple(edits or EDITS),
        seed=seed,
        keep=keep,
    )


def judge(embed: Embed, prepared: Prepared, report: Report = lambda done: None) -> CopyScores:
    """Embeds all of it and scores the answers; `report` is told how many pictures are done."""
    embedder = Embedder(embed, report)
    library = embedder(prepared.pictures[name] for name in prepared.library)
    place = {name: row for row, name in enumerate(prepared.library)}
    originals = np.array([place[name] for name in prepared.photos])
    none = np.full(len(prepared.strangers), -1)
    vectors, by_edit = [], {}
    for edit in prepared.edits:
        photos, strangers = map(embedder, prepared.asked(edit))
        by_edit[edit] = EditScores(ranks_of(photos, library, originals))
        vectors += [photos, strangers]
    answers = np.tile(np.concatenate((originals, none)), len(prepared.edits))
    owners = np.tile(np.arange(len(originals) + len(none)), len(prepared.edits))
    return CopyScores(by_edit, micro_ap(np.concatenate(vectors), library, answers, owners))


class Embedder:
    """Any number of pictures -> their vectors, some at a time; tells how many are done in all."""

    def __init__(self, embed: Embed, report: Report) -> None:
        self._embed = embed
        self._report = report
        self._done = 0

    def __call__(self, pictures: Iterable[Picture]) -> NDArray[np.float32]:
        """pictures, at least one -> (N, D)."""
        parts: list[NDArray[np.float32]] = []
        waiting: list[Picture] = []
        for picture in pictures:
            waiting.append(picture)
            if len(waiting) == AT_ONCE:
                parts.append(self._vectors(waiting))
                waiting = []
        if waiting:
            parts.append(self._vectors(waiting))
        return np.concatenate(parts)

    def _vectors(self, pictures: list[Picture]) -> NDArray[np.float32]:
        vectors = self._embed(pictures)
        self._done += len(pictures)
        self._report(self._done)
        return vectors
