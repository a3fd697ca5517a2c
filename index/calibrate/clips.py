"""Clips: stretches cut out of clips, edited, and asked of all clips: what alignment says, and whether it is right."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...errors import MediaError, NotFound
from ...export.calibration import Calibration
from ...export.engine import Engine
from ...media.decoding import Decoder
from ...media.frames import Frames
from ...media.informativeness import informativeness
from ...media.limits import MediaLimits
from ...media.preprocess import enough_side, to_pixels
from ..catalog import Item
from ..matching import SHORT_SIDE, Segment, features_of, is_same_picture, query_features_of, verify
from ..search import EmbeddedQuery, aligned_hits
from .edits import OF_CLIPS, edited
from .frames import Floats
from .material import FRAMES_PER_SECOND, Material

CUTS = 3  # stretches of each clip
SHORTEST, LONGEST = 3.0, 12.0  # seconds of a stretch
OFF_SECONDS = 1.5  # by which a stretch that is right may be off
MAYBE = 0.2  # of what alignment says: below it nobody looks whether a stranger is a copy
LOOKS = (0.25, 0.5, 0.75)  # of a stretch: where it is compared with another one
ALIGNED = 24  # clips with the nearest frames, besides the own


@dataclass(frozen=True)
class ClipRow:
    """likely: what alignment says of the best stretch found, 0..1; right: whether it is the one that was cut out."""

    likely: float
    right: bool


def clip_rows(
    material: Material,
    mean: Floats,
    calibration: Calibration,
    engine: Engine,
    decoder: Decoder,
    limits: MediaLimits,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[ClipRow]:
    """Two rows for each stretch: of the best hit among all clips, and of the best among the others."""
    dice = random.Random(0)
    rows: list[ClipRow] = []
    long_enough = [place for place in material.clips if material.items[place].duration_seconds >= 2 * SHORTEST]
    cuts = [(place, number) for place in long_enough for number in range(CUTS)]
    for done, (place, number) in enumerate(cuts):
        on_progress(done, len(cuts))
        item = material.items[place]
        lasts = min(dice.uniform(SHORTEST, LONGEST), item.duration_seconds)
        start = dice.uniform(0, item.duration_seconds - lasts)
        edit = OF_CLIPS[(place * CUTS + number) % len(OF_CLIPS)]
        try:
            query = _asked(item, start, start + lasts, edit, engine, decoder, limits)
        except (MediaError, NotFound):
            continue
        others = _nearest(material, query, place)
        for known in ([place, *others], others):
            found = [(material.items[i], material.moments[i]) for i in known]
            if not found:
                continue
            best, *_ = aligned_hits(query, found, mean, len(found), calibration)
            segment = best.segments[0]
            right = best.item is item and _is_there(segment, start)
            is_clear = right or (segment.confidence or 0.0) < MAYBE
            if is_clear or not _is_a_copy(item, best.item, segment, start, limits, decoder):
                rows.append(ClipRow(segment.confidence or 0.0, right))
    return rows


def _asked(
    item: Item, start: float, end: float, edit: str, engine: Engine, decoder: Decoder, limits: MediaLimits
) -> EmbeddedQuery:
    """The stretch as a person would send it: its own seconds, sampled anew, every picture edited."""
    parts = decoder.read_frames(
        item.path,
        FRAMES_PER_SECOND,
        limits,
        start_seconds=start,
        end_seconds=end,
        shorter_side=enough_side(engine.spec),
    )
    shown = [(s, p) for frames in parts for s, p in zip(frames.seconds.tolist(), frames.data, strict=True)]
    pictures = [edited(picture, edit) for _, picture in shown]
    pixels = np.concatenate([to_pixels(Frames(picture[None], np.zeros(1)), engine.spec) for picture in pictures])
    seconds = np.array([second for second, _ in shown]) - start
    mirrored = np.ascontiguousarray(pixels[:, :, ::-1])
    vectors, turned = engine.embed(pixels), engine.embed(mirrored)
    return EmbeddedQuery("clip", vectors, seconds, informativeness(pixels), turned, end_seconds=end - start)


def _nearest(material: Material, query: EmbeddedQuery, own: int) -> list[int]:
    """The other clips with the nearest frames, as a search would find them."""
    others = [place for place in material.clips if place != own]
    nearest = {
        place: -float((material.moments[place].vectors @ query.vectors.T).max(axis=0).mean()) for place in others
    }
    return sorted(others, key=nearest.__getitem__)[:ALIGNED]


def _is_there(segment: Segment, start: float) -> bool:
    """Whether both ends of the stretch lie where it was cut out, by OFF_SECONDS."""
    first = segment.start_seconds - segment.query_start_seconds - start
    last = segment.end_seconds - segment.query_end_seconds - start
    return max(abs(first), abs(last)) < OFF_SECONDS


def _is_a_copy(item: Item, found: Item, segment: Segment, start: float, limits: MediaLimits, decoder: Decoder) -> bool:
    """Whether the stretch that was found shows the same after all: a second file, or a scene again.

    So it is taken, too, where a file cannot be read to tell.
    """
    told = []
    for share in LOOKS:
        asked = start + segment.query_start_seconds + share * (segment.query_end_seconds - segment.query_start_seconds)
        shown = segment.start_seconds + share * (segment.end_seconds - segment.start_seconds)
        try:
            ours = decoder.frame_at(item.path, asked, limits, SHORT_SIDE).data[0]
            theirs = decoder.frame_at(found.path, shown, limits, SHORT_SIDE).data[0]
        except (MediaError, NotFound):
            return True
        seen = verify(query_features_of(ours), features_of(theirs))
        told.append(seen is not None and is_same_picture(seen))
    return 2 * sum(told) > len(told)
