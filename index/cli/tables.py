"""Hits and other rows as plain text for a terminal or a pipe. Prints nothing itself."""

from collections.abc import Sequence

from ..matching import SURE
from ..paths import printable
from ..search import Hit

HIT_COLUMNS = ("#", "sure", "score", "time", "file")


def hit_rows(hits: Sequence[Hit]) -> list[tuple[str, ...]]:
    """One row a hit, under HIT_COLUMNS."""
    return [
        (str(rank), _sure(hit), f"{hit.score:.3f}", _stretch(hit), printable(hit.item.path))
        for rank, hit in enumerate(hits, start=1)
    ]


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Lines of columns, each as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def clock(seconds: float) -> str:
    """75.5 -> 1:15.50, 3675.5 -> 1:01:15.50."""
    minutes, hundredths = divmod(round(seconds * 100), 6000)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02d}" if hours else str(minutes)
    return f"{head}:{hundredths // 100:02d}.{hundredths % 100:02d}"


def _sure(hit: Hit) -> str:
    """The confidence in percent; a dash where the model was never calibrated."""
    return "-" if hit.confidence is None else f"{hit.confidence:.0%}"


def _stretch(hit: Hit) -> str:
    if hit.item.kind == "image":
        return "-"
    best = hit.segments[0]
    stretch = f"{clock(hit.start_seconds)}–{clock(hit.end_seconds)}"
    if best.confidence is not None and best.confidence < SURE:
        return stretch
    ways = [
        f"{best.speed:.2f} times as fast" if best.speed != 1 else "",
        "mirrored" if best.mirrored else "",
        "within the picture" if best.inset else "",
    ]
    return ", ".join([stretch, *filter(None, ways)])
