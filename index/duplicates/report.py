"""What find_duplicates found, for people and programs: a dictionary, CSV, and one HTML file. Compares nothing."""

import base64
import csv
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..catalog import Item
from ..paths import printable
from .finder import Found
from .groups import Pair

PAGE, SCRIPT = (Path(__file__).with_name(name) for name in ("report.html", "report.js"))
CSV_COLUMNS = (
    "group",
    "kind",
    "variant",
    "likeness",
    "a",
    "b",
    "a_start_seconds",
    "a_end_seconds",
    "b_start_seconds",
    "b_end_seconds",
    "speed",
)


def report_dict(collection: str, found: Found) -> dict[str, Any]:
    """Plain values: items by id, groups of duplicates with the best of each, and pairs that are no duplicates."""
    return {
        "collection": collection,
        "items": {item.id: _item_dict(item) for item in found.items.values()},
        "groups": [
            {
                "items": group.items,
                "best": group.best,
                "reason": group.reason,
                "pairs": [asdict(pair) for pair in group.pairs],
            }
            for group in found.groups
        ],
        "shared": [asdict(pair) for pair in found.shared],
        "compared_pairs": found.compared,
        "dismissed_pairs": found.dismissed,
        "unseen_pairs": len(found.unseen),
    }


def report_csv(report: dict[str, Any]) -> str:
    """One row a segment (one a pair that has none); the group of pairs that are no duplicates is empty."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(CSV_COLUMNS)
    names = {item_id: _unformulated(item["uri"]) for item_id, item in report["items"].items()}
    numbered = [(str(i), pair) for i, group in enumerate(report["groups"], start=1) for pair in group["pairs"]]
    for number, pair in [*numbered, *(("", pair) for pair in report["shared"])]:
        common = (
            number,
            pair["kind"],
            pair["variant"] or "",
            f"{pair['likeness']:.3f}",
            names[pair["a"]],
            names[pair["b"]],
        )
        for s in pair["segments"] or [None]:
            times = ("query_start_seconds", "query_end_seconds", "start_seconds", "end_seconds", "speed")
            rows.writerow([*common, *(f"{s[name]:.3f}" if s else "" for name in times)])
    return text.getvalue()


def report_html(report: dict[str, Any], source: Callable[[str], str], dismiss_url: str | None = None) -> str:
    """One file that needs nothing else: both sides' players, locked at the offset.

    source      item id -> the address of its file (file:///… or a path on the server)
    dismiss_url where a button may POST {a, b}, or DELETE ?a=…&b=… again; without one there is no button
    """
    data = {**report, "sources": {item_id: source(item_id) for item_id in report["items"]}, "dismiss_url": dismiss_url}
    # No "<" inside a script element, so that no name of a file can end it.
    page, script = PAGE.read_text("utf-8"), SCRIPT.read_text("utf-8")
    return page.replace("@DATA@", json.dumps(data).replace("<", "\\u003c")).replace("@SCRIPT@", script)


def content_security_policy() -> str:
    """Lets the report's own script run, and nothing that a file name could smuggle in."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.read_bytes()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src 'self'; media-src 'self'; connect-src 'self'"
    )


def report_lines(found: Found) -> list[str]:
    """The report for a terminal."""
    lines = []
    for number, group in enumerate(found.groups, start=1):
        lines.append(f"group {number}: {len(group.items)} items")
        lines.append(f"  best: {printable(found.items[group.best].path)} ({group.reason})")
        lines += [f"  {_pair_line(found, pair)}" for pair in group.pairs]
    if found.shared:
        lines.append("shared, but no duplicates:")
        lines += [f"  {_pair_line(found, pair)}" for pair in found.shared]
    if found.unseen:
        lines.append(f"could not be looked at: {len(found.unseen)} pairs, of which a picture cannot be read")
    return lines


def _pair_line(found: Found, pair: Pair) -> str:
    kind = pair.kind.replace("_", " ")
    how = kind if pair.variant in (None, "same") else f"{kind}, {pair.variant}"
    where = "".join(
        f"  {s.query_start_seconds:.1f}-{s.query_end_seconds:.1f} s = {s.start_seconds:.1f}-{s.end_seconds:.1f} s"
        for s in pair.segments[:1]
        if s.end_seconds > 0
    )
    return f"{how}: {printable(found.items[pair.a].path)} = {printable(found.items[pair.b].path)}{where}"


def _item_dict(item: Item) -> dict[str, Any]:
    names = ("id", "uri", "name", "kind", "mime", "size_bytes", "width", "height", "duration_seconds")
    return {name: getattr(item, name) for name in names}


def _unformulated(text: str) -> str:
    """A cell that a spreadsheet does not take for a formula."""
    return f"'{text}" if text[:1] in "=+-@" else text
