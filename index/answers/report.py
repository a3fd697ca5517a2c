"""The report: answers in, shares by edit out. Plain values; knows no table and no file."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from .clips import ClipAnswer
from .copies import CopiesJudged
from .judge import StillAnswer

BINS = (0.0, 0.05, 0.2, 0.5, 0.8, 0.95, 1.0)  # of confidence
Row = dict[str, Any]


def still_figures(answers: Sequence[StillAnswer]) -> Row:
    """Of answers to pictures that are in the index: shares, and seconds.

    item, moment    right first, and also at the right second
    sure_item, sure_moment  the same, with a confidence of 0.5 or more
    candidates      right item among the first by vectors alone; verified: the share of those that sure_item has
    wrong_and_sure  wrong first, with a confidence of 0.5 or more
    """
    among = [answer for answer in answers if answer.candidate]
    return {
        "asked": len(answers),
        "item": _share(answers, lambda answer: answer.item),
        "moment": _share(answers, lambda answer: answer.moment),
        "sure_item": _share(answers, lambda answer: answer.item and answer.sure),
        "sure_moment": _share(answers, lambda answer: answer.moment and answer.sure),
        "candidates": _share(answers, lambda answer: answer.candidate),
        "verified": _share(among, lambda answer: answer.item and answer.sure),
        "wrong_and_sure": _share(answers, lambda answer: answer.sure and not answer.item),
        **_seconds(answers),
    }


def stranger_figures(answers: Sequence[StillAnswer]) -> Row:
    """Of answers to pictures that are not in the index: the share that is sure all the same."""
    return {"asked": len(answers), "wrong_and_sure": _share(answers, lambda answer: answer.sure), **_seconds(answers)}


def clip_figures(answers: Sequence[ClipAnswer]) -> Row:
    """Of parts of clips: as of stills, with the right stretch in the place of the right second."""
    among = [answer for answer in answers if answer.candidate]
    return {
        "asked": len(answers),
        "item": _share(answers, lambda answer: answer.item),
        "stretch": _share(answers, lambda answer: answer.stretch),
        "sure_item": _share(answers, lambda answer: answer.item and answer.sure),
        "sure_stretch": _share(answers, lambda answer: answer.stretch and answer.sure),
        "candidates": _share(answers, lambda answer: answer.candidate),
        "verified": _share(among, lambda answer: answer.item and answer.sure),
        "wrong_and_sure": _share(answers, lambda answer: answer.wrong_and_sure),
        **_seconds(answers),
    }


def copies_figures(judged: CopiesJudged, seconds: float) -> Row:
    """False copies with their names, true ones by edit, and how long the search took."""
    return {
        "items": judged.items,
        "compared": judged.compared,
        "seconds": round(seconds, 1),
        "false": [asdict(false) for false in judged.false],
        "copies": {edit: {"made": made, "found": judged.found[edit]} for edit, made in judged.made.items()},
    }


def by_edit(answers: Iterable[Any], figures: Callable[[Sequence[Any]], Row]) -> Row:
    """-> figures of each edit, and of "all"."""
    groups: dict[str, list[Any]] = {}
    every = list(answers)
    for answer in every:
        groups.setdefault(answer.edit, []).append(answer)
    return {edit: figures(group) for edit, group in groups.items()} | {"all": figures(every)}


def reliability(answers: Iterable[StillAnswer | ClipAnswer]) -> list[Row]:
    """How often a first answer of that confidence is right, in BINS."""
    told = [(answer.confidence, answer.item) for answer in answers if answer.confidence is not None]
    rows = []
    for low, high in zip(BINS, BINS[1:], strict=False):
        within = [pair for pair in told if low <= pair[0] < high or pair[0] == high == BINS[-1]]
        if within:
            mean, right = np.mean(within, axis=0)
            rows.append(
                {"from": low, "to": high, "answers": len(within), "confidence": float(mean), "right": float(right)}
            )
    return rows


def _share(answers: Sequence[Any], holds: Callable[[Any], bool]) -> float | None:
    """None: of nothing there is no share."""
    return round(sum(map(holds, answers)) / len(answers), 4) if answers else None


def _seconds(answers: Sequence[Any]) -> Row:
    if not answers:
        return {"median_seconds": None, "p90_seconds": None}
    middle, late = np.percentile([answer.seconds for answer in answers], (50, 90))
    return {"median_seconds": round(float(middle), 3), "p90_seconds": round(float(late), 3)}
