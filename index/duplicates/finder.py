"""Duplicates: which items of a collection are copies of one another, and what else do they share?

Candidates are told by a few frames of each item (blocking.py), aligned by their vectors, and then looked at (looks.py):
a pair whose pictures do not agree is of one kind or place, and no copy. Deletes nothing and changes no file.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from ...errors import NotFound
from ..catalog import Item, dismissed, is_dismissed
from ..collection import Collection
from ..matching import Segment
from ..search import Tools, shared
from .blocking import candidate_pairs
from .groups import DUPLICATES, Group, Kind, Pair, groups_of
from .looks import Looks

MOMENTS_KEPT = 128  # items whose vectors are held in memory at once
WHOLE = 0.8  # share of an item that must be covered to call it contained
LEAST_SECONDS = 2.0  # a shorter stretch is a coincidence
EDGE_SECONDS = 15.0  # an intro begins, credits end, within so much of both ends
COMMON_ITEMS = 3  # a stretch shared with so many others is an intro or the like, whatever its place
STAGES = {"candidates": 0.25, "align": 0.15, "look": 0.60}  # shares of the work, in their order
STEPS = 1000  # of the whole work, as progress counts it

Stretches = dict[tuple[str, str], list[Segment]]  # of a pair of ids, the shorter item first
# (what is being done, steps done, steps in all): steps only grow, over all stages
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Found:
    """groups: items that hang together by duplicate pairs; shared: the other pairs.

    unseen  pairs that look like copies by their vectors, whose pictures could not be looked at: in no group
    """

    items: dict[str, Item]
    groups: list[Group]
    shared: list[Pair]
    compared: int
    dismissed: int
    unseen: list[tuple[str, str]]


def find_duplicates(
    collection: Collection, tools: Tools | None = None, on_progress: Progress = lambda stage, done, total: None
) -> Found:
    """Looks at the whole collection. Bounded memory; time grows with items and what they share, not with all pairs."""
    tools = tools or Tools()
    items = {item.id: item for item in _all_items(collection)}
    same_bytes = _by_bytes(items.values())
    ruled_out = dismissed(collection.catalog)
    firsts = [group[0] for group in same_bytes]
    candidates = candidate_pairs(collection, firsts, tools.calibration, _stage("candidates", on_progress))
    open_pairs = [pair for pair in candidates if not is_dismissed(ruled_out, *pair)]
    stretches = _aligned(collection, items, open_pairs, tools, _stage("align", on_progress))
    pairs, unseen = _looked_at(items, stretches, Looks(collection, tools), _stage("look", on_progress))
    twins = [(group[0], other) for group in same_bytes for other in group[1:]]
    open_twins = [(a, b) for a, b in twins if not is_dismissed(ruled_out, a.id, b.id)]
    pairs = [_twins(a, b) for a, b in open_twins] + pairs
    duplicates = [pair for pair in pairs if pair.kind in DUPLICATES]
    others = [pair for pair in pairs if pair.kind not in DUPLICATES]
    named = {item_id: items[item_id] for pair in pairs for item_id in (pair.a, pair.b)}
    left_out = len(candidates) - len(open_pairs) + len(twins) - len(open_twins)
    return Found(named, groups_of(duplicates, named), others, len(open_pairs), left_out, unseen)


def _stage(stage: str, on_progress: Progress) -> Callable[[int, int], None]:
    """Tells how much of one stage is done as steps of the whole."""
    names = list(STAGES)
    before = sum(STAGES[name] for name in names[: names.index(stage)])

    def tell(done: int, total: int) -> None:
        on_progress(stage, round(STEPS * (before + STAGES[stage] * done / max(total, 1))), STEPS)

    return tell


def _twins(a: Item, b: Item) -> Pair:
    """Two items of the same bytes: two files, or two names of one file."""
    return Pair(a.id, b.id, "same_file" if _is_one_file(a, b) else "exact", "same", 1.0, [])


def _is_one_file(a: Item, b: Item) -> bool:
    try:
        return os.path.samefile(a.path, b.path)
    except OSError:  # one of them cannot be reached: then they are not known to be one
        return False


def _aligned(
    collection: Collection,
    items: dict[str, Item],
    pairs: list[tuple[str, str]],
    tools: Tools,
    on_progress: Callable[[int, int], None],
) -> Stretches:
    """What each pair shares by its vectors, where that is long enough."""
    moments = lru_cache(MOMENTS_KEPT)(collection.moments_of)
    mean = collection.index.mean()
    stretches: Stretches = {}
    for done, (a, b) in enumerate(pairs):
        on_progress(done, len(pairs))
        a, b = _shorter_first(items[a], items[b])
        try:
            segments = _long_enough(shared(moments(a), moments(b), mean, tools.calibration), items[a])
        except NotFound:  # deleted in the meantime
            continue
        if segments:
            stretches[a, b] = segments
    return stretches


def _looked_at(
    items: dict[str, Item], stretches: Stretches, looks: Looks, on_progress: Callable[[int, int], None]
) -> tuple[list[Pair], list[tuple[str, str]]]:
    """What the pairs are by their pictures; and those that could not be looked at."""
    common = _common(stretches, items)
    pairs: list[Pair] = []
    unseen: list[tuple[str, str]] = []
    for done, ((a, b), segments) in enumerate(stretches.items()):
        on_progress(done, len(stretches))
        look = looks.at(items[a], items[b], segments[0])
        if look.relation == "unseen":
            unseen.append((a, b))
        elif look.relation != "different":
            is_copy = look.relation == "copy"
            kind = _share(items[a], items[b], segments, (a, b) in common) if is_copy else look.relation
            told = [replace(segment, mirrored=look.variant == "mirrored") for segment in segments]
            pairs.append(Pair(a, b, kind, look.variant, segments[0].likeness, told))
    return pairs, unseen


def _all_items(collection: Collection) -> Iterator[Item]:
    page, cursor = collection.items(1000)
    yield from page
    while cursor is not None:
        page, cursor = collection.items(1000, cursor)
        yield from page


def _by_bytes(items: Iterable[Item]) -> list[list[Item]]:
    """Items of the same bytes together, the oldest first."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in sorted(items, key=lambda item: (item.created_at, item.id)):
        groups[item.sha256].append(item)
    return list(groups.values())


def _shorter_first(a: Item, b: Item) -> tuple[str, str]:
    first, second = sorted((a, b), key=lambda item: (item.duration_seconds, item.created_at, item.id))
    return first.id, second.id


def _long_enough(segments: list[Segment], query: Item) -> list[Segment]:
    if query.kind == "image":
        return segments
    least = min(LEAST_SECONDS, WHOLE * query.duration_seconds)
    return [s for s in segments if s.query_end_seconds - s.query_start_seconds >= least]


def _common(stretches: Stretches, items: dict[str, Item]) -> set[tuple[str, str]]:
    """Pairs whose best stretch is a small part of both, and one side's is met by COMMON_ITEMS other items."""
    met: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for (a, b), (best, *_) in stretches.items():
        met[a].append((best.query_start_seconds, best.query_end_seconds))
        met[b].append((best.start_seconds, best.end_seconds))
    common = set()
    for (a, b), segments in stretches.items():
        best = segments[0]
        sides = (
            (met[a], best.query_start_seconds, best.query_end_seconds),
            (met[b], best.start_seconds, best.end_seconds),
        )
        crowd = max(sum(_overlap(start, end, *other) > 0.5 for other in known) for known, start, end in sides)
        if crowd >= COMMON_ITEMS and max(_covered(items[a], items[b], segments)) < WHOLE:
            common.add((a, b))
    return common


def _share(a: Item, b: Item, segments: list[Segment], is_common: bool) -> Kind:
    """What they share where their pictures agree."""
    if a.kind == "image":
        return "copy"
    of_a, of_b = _covered(a, b, segments)
    if of_a >= WHOLE:
        return "copy" if of_b >= WHOLE else "subclip"
    best = segments[0]
    left = (a.duration_seconds - best.query_end_seconds, b.duration_seconds - best.end_seconds)
    if max(best.query_start_seconds, best.start_seconds) <= EDGE_SECONDS and max(left) > EDGE_SECONDS:
        return "intro"
    if max(left) <= EDGE_SECONDS:
        return "credits"
    return "intro" if is_common else "overlap"


def _covered(a: Item, b: Item, segments: list[Segment]) -> tuple[float, float]:
    """Which share of a's and of b's time the segments cover, each part of a counted once.

    A short film of one scene runs along several parts of a longer one of that scene, and is no copy of it for that.
    """
    once: list[Segment] = []
    for segment in segments:
        query = segment.query_start_seconds, segment.query_end_seconds
        if all(_overlap(*query, s.query_start_seconds, s.query_end_seconds) <= 0.5 for s in once):
            once.append(segment)
    segments = once
    of_a = _union([(s.query_start_seconds, s.query_end_seconds) for s in segments])
    of_b = _union([(s.start_seconds, s.end_seconds) for s in segments])
    return of_a / max(a.duration_seconds, 1e-6), of_b / max(b.duration_seconds, 1e-6)


def _union(stretches: list[tuple[float, float]]) -> float:
    total, reached = 0.0, 0.0
    for start, end in sorted(stretches):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _overlap(start: float, end: float, other_start: float, other_end: float) -> float:
    """Shared share of the shorter of two stretches."""
    shared_seconds = min(end, other_end) - max(start, other_start)
    return shared_seconds / max(min(end - start, other_end - other_start), 1e-6)
