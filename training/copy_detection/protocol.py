"""Edited photos asked of a library that holds the originals, by vectors alone.

Everything is drawn and edited once (`prepare`) and kept, so that several encoders are asked the very same (`judge`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import TrainingError
from ...media.frames import Picture
from .edits import EDITS, edited
from .scores import CopyScores, EditScores, micro_ap, ranks_of

Embed = Callable[[list[Picture]], NDArray[np.float32]]
"""Pictures, (H, W, 3) uint8 RGB of any sizes -> vectors (N, D) float32, unit length."""
Pictures = Mapping[str, Picture]
"""Pictures, (H, W, 3) uint8 RGB, by name."""
Half = Literal["a", "b"]
AT_ONCE = 64  # pictures handed to an encoder in one call
FEWEST_STRANGERS = 4  # one for each part of a collage, and one that is asked itself


@dataclass(frozen=True)
class Prepared:
    """What is looked in and what is asked.

    library    M pictures, the originals of the photos among them
    rows       (photos,) where each photo's original stands in the library
    asked      for each edit the edited photos, in the order of rows
    strangers  for each edit the edited strangers, whose right answer is none
    """

    library: list[Picture]
    rows: NDArray[np.int64]
    asked: dict[str, list[Picture]]
    strangers: dict[str, list[Picture]]

    @property
    def pictures(self) -> int:
        """How many there are to embed."""
        return sum(map(len, (self.library, *self.asked.values(), *self.strangers.values())))


def half_of(name: str) -> Half:
    """The half a photo belongs to, by its name alone: choose on one, report the other."""
    return "a" if sha256(f"half {name}".encode()).digest()[0] % 2 == 0 else "b"


def prepare(
    pictures: Pictures,
    *,
    strangers: Pictures | int = 50,
    queries: int = 100,
    half: Half | None = None,
    edits: Sequence[str] | None = None,
    seed: int = 0,
    askable: Callable[[str], bool] = lambda name: True,
) -> Prepared:
    """pictures -> a library, and some of its photos and the strangers with all edits.

    strangers  pictures that are in no library: the grounds of insets and other parts of collages, and questions without
               an answer. A number: so many are taken out of `pictures`, the same for both halves
    queries    photos that are edited and asked; fewer where there are not so many
    half       ask photos of this half only (half_of)
    edits      keys of EDITS, all if None
    seed       of the draw and of the edits
    askable    which names may be asked at all

    Raises TrainingError where there are too few pictures.
    """
    order = sorted(filter(askable, pictures), key=lambda name: sha256(f"{seed} {name}".encode()).digest())
    if isinstance(strangers, int):
        taken = order[max(0, len(order) - strangers) :] if strangers else []
        strangers, order = {name: pictures[name] for name in taken}, order[: len(order) - len(taken)]
        pictures = {name: picture for name, picture in pictures.items() if name not in strangers}
    asked = [name for name in order if half in (None, half_of(name))][:queries]
    if not asked:
        which = f" of half {half}" if half else ""
        raise TrainingError(f"No picture{which} is left to be asked. Give a larger set, or fewer strangers.")
    if len(strangers) < FEWEST_STRANGERS:
        raise TrainingError(f"There are {len(strangers)} strangers; give at least {FEWEST_STRANGERS}.")
    place = {name: row for row, name in enumerate(pictures)}
    others = list(strangers.values())
    chosen = tuple(edits or EDITS)
    return Prepared(
        library=list(pictures.values()),
        rows=np.array([place[name] for name in asked]),
        asked={edit: [edited(edit, pictures[name], name, others, seed) for name in asked] for edit in chosen},
        strangers={edit: _edited_strangers(edit, strangers, seed) for edit in chosen},
    )


def _edited_strangers(edit: str, strangers: Pictures, seed: int) -> list[Picture]:
    """Each edited with the others about it."""
    listed = list(strangers.items())
    apart = [[picture for _, picture in listed[:row] + listed[row + 1 :]] for row in range(len(listed))]
    return [edited(edit, picture, name, apart[row], seed) for row, (name, picture) in enumerate(listed)]


def judge(embed: Embed, prepared: Prepared, report: Callable[[int], None] = lambda done: None) -> CopyScores:
    """Embeds all of it and scores the answers; `report` is told how many pictures are done."""
    done = 0

    def vectors_of(pictures: Iterable[Picture]) -> NDArray[np.float32]:
        nonlocal done
        listed, parts = list(pictures), []
        for start in range(0, len(listed), AT_ONCE):
            parts.append(embed(listed[start : start + AT_ONCE]))
            done += len(parts[-1])
            report(done)
        return np.concatenate(parts)

    library = vectors_of(prepared.library)
    photos = len(prepared.rows)
    queries, rows, owners, by_edit = [], [], [], {}
    for edit, pictures in prepared.asked.items():
        vectors, foreign = vectors_of(pictures), vectors_of(prepared.strangers[edit])
        by_edit[edit] = EditScores(ranks_of(vectors, library, prepared.rows))
        queries += [vectors, foreign]
        rows += [prepared.rows, np.full(len(foreign), -1)]
        owners += [np.arange(photos), np.arange(len(foreign)) + photos]
    overall = micro_ap(np.concatenate(queries), library, np.concatenate(rows), np.concatenate(owners))
    return CopyScores(by_edit, overall)
