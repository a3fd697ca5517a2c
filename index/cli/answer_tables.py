"""The figures of `vicmae evaluate answers` as rows for a terminal. Prints nothing itself."""

from typing import Any

Rows = list[tuple[str, ...]]

# Of each column, where its value stands and what it is called.
SHARES = {
    "item": "item",
    "moment": "second",
    "sure_item": "item, sure",
    "sure_moment": "second, sure",
    "candidates": "candidates",
    "verified": "verified",
    "wrong_and_sure": "wrong, sure",
}
SECONDS = {"median_seconds": "median s", "p90_seconds": "p90 s"}
OF_CLIPS = {"item": "item", "stretch": "stretch", "sure_item": "item, sure", "sure_stretch": "stretch, sure"}


def still_rows(result: dict[str, Any]) -> Rows:
    """A row for each edit; at its end the share that each rival answers rightly and surely."""
    (product, known), *rivals = result["stills"].items()
    columns = SHARES | SECONDS
    rows: Rows = [("edit", *columns.values(), "strangers, sure", *(f"{name}, sure" for name, _ in rivals))]
    for edit in [name for name in known if name != "kinds"]:
        values = [known[edit][column] for column in columns]
        values.append(result["strangers"][product][edit]["wrong_and_sure"])
        values += [figures[edit]["sure_item"] for _, figures in rivals]
        rows.append((edit, *map(told, values)))
    return rows


def clip_rows(clips: dict[str, Any]) -> Rows:
    """A row for each edit."""
    columns = OF_CLIPS | {name: SHARES[name] for name in ("candidates", "verified", "wrong_and_sure")} | SECONDS
    rows: Rows = [("clip", *columns.values())]
    return rows + [(edit, *(told(figures[name]) for name in columns)) for edit, figures in clips.items()]


def reliability_rows(bins: list[dict[str, Any]]) -> Rows:
    rows: Rows = [("confidence", "answers", "mean", "right")]
    for each in bins:
        span = f"{each['from']:g} to {each['to']:g}"
        rows.append((span, str(each["answers"]), told(each["confidence"]), told(each["right"])))
    return rows


def copy_lines(duplicates: dict[str, Any]) -> list[str]:
    """How many pairs are false, and which; of the made copies, how many were found."""
    lines = [
        f"duplicates of {duplicates['items']} items in {duplicates['seconds']:.0f} s, "
        f"{duplicates['compared']} pairs compared: {len(duplicates['false'])} false copies"
    ]
    lines += [f"  {pair['a']} and {pair['b']}: {pair['kind']}" for pair in duplicates["false"]]
    lines += [
        f"  {edit}: {count['found']} of {count['made']} copies found" for edit, count in duplicates["copies"].items()
    ]
    return lines


def told(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
