"""The judge of stills: edits each picture, asks the product, and notes whether the answer is right and how sure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import cv2
import numpy as np

from ...media.edits import edited
from ...media.frames import Picture
from .ask import Ask, Hit, Question
from .moments import SameMoment
from .stills import Still

CANDIDATES = 20  # first hits by vectors alone among which the right item is looked for
HITS = 10  # as `vicmae search` shows
SURE = 0.5
SECONDS_OFF = 0.75  # by which the right second may be missed


@dataclass(frozen=True)
class StillAnswer:
    """What the first hit to one edited picture was.

    item, moment  whether it is the right item, and also the right second; of a stranger neither is
    candidate     whether the right item is among CANDIDATES hits by vectors alone
    confidence    of the first hit, 0..1; None: not calibrated, or no hit
    seconds       from the question to the verified answer
    """

    edit: str
    name: str
    kind: str
    found: str | None
    item: bool
    moment: bool
    candidate: bool
    confidence: float | None
    seconds: float

    @property
    def sure(self) -> bool:
        return self.confidence is not None and self.confidence >= SURE


def judge_stills(
    askers: Mapping[str, Ask],
    stills: Sequence[Still],
    grounds: Sequence[Still],
    edits: Sequence[str],
    same: SameMoment,
    seed: int = 0,
) -> Iterator[dict[str, StillAnswer]]:
    """For each edit and still, the answer of each asker. grounds: strangers, of which insets and collages are made."""
    for edit in edits:
        for still in stills:
            # No stranger is the ground of its own inset.
            others = [ground.picture for ground in grounds if ground.name != still.name]
            data = png(edited(edit, still.picture, still.name, others, seed))
            yield {name: _answer(ask, still, edit, data, same) for name, ask in askers.items()}


def _answer(ask: Ask, still: Still, edit: str, data: bytes, same: SameMoment) -> StillAnswer:
    began = perf_counter()
    hits = ask(Question(data, HITS))
    seconds = perf_counter() - began
    candidates = ask(Question(data, CANDIDATES, verified=False))
    first: Hit = hits[0] if hits else {}
    item = still.uri is not None and first.get("uri") == still.uri
    return StillAnswer(
        edit,
        still.name,
        still.kind,
        first.get("name"),
        item,
        item and _is_moment(still, first, same),
        still.uri is not None and any(hit["uri"] == still.uri for hit in candidates),
        first.get("confidence"),
        seconds,
    )


def _is_moment(still: Still, hit: Hit, same: SameMoment) -> bool:
    if still.path is None or still.kind != "frame":
        return True
    return same(still.path, still.seconds, hit["start_seconds"], SECONDS_OFF)


def png(picture: Picture) -> bytes:
    """The picture as a PNG file, so that nothing but the edit changes it."""
    _, data = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return bytes(data)
