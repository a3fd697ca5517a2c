"""What `vicmae evaluate answers` measured, as tables and a plot; two runs beside each other.

    vicmae evaluate answers LIBRARY --distractors FOLDER --clips --duplicates --data DATA -o after.json
    python benchmarks/answers.py after.json [--before before.json]

Writes benchmarks/results/answers.md and answers.png. The first table has for each edit the share answered rightly with
a confidence of 0.5 or more ("sure"), the right second, the share among candidates and of those verified, wrong answers
and strangers with that confidence, seconds, and what pHash and PDQ find within the distance up to which two pictures
are usually called copies. Then clips, how often a confidence is right, and duplicates. Needs: pip install
'.[bench]'
"""

import argparse
import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PRODUCT = "vicmae"
NOT_EDITS = ("all", "kinds")

Run = dict[str, Any]
STILLS = {
    "sure_item": "right item, sure",
    "sure_moment": "right second, sure",
    "candidates": "among 20",
    "verified": "of those verified",
    "wrong_and_sure": "wrong, sure",
}
CLIPS = {
    "sure_item": "right item, sure",
    "sure_stretch": "right stretch, sure",
    "candidates": "among 20",
    "wrong_and_sure": "wrong, sure",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="JSON of `vicmae evaluate answers -o`")
    parser.add_argument("--before", type=Path, help="that of an earlier run, with the same library, queries and seed")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of answers.md and answers.png")
    arguments = parser.parse_args()
    runs = [json.loads(path.read_text()) for path in (arguments.before, arguments.run) if path is not None]
    if len(runs) == 2 and (differ := differences(*runs)):
        parser.error(f"the two runs asked different questions: {differ}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = markdown(runs)
    (arguments.out / "answers.md").write_text(text)
    draw(runs, arguments.out / "answers.png")
    print(text)


def differences(before: Run, after: Run) -> str:
    """What was asked differently, which makes the two no comparison."""
    names = ("library", "queries", "half", "seed")
    return ", ".join(f"{name} {before[name]} and {after[name]}" for name in names if before[name] != after[name])


def markdown(runs: list[Run]) -> str:
    """The tables; with two runs each cell holds both, the earlier one first."""
    last = runs[-1]
    counts = ", ".join(f"{count} {name}" for name, count in last["library"].items())
    parts = [f"{last['model']}, {last['engine']}; {counts}; {last['queries']} queries an edit.", _stills(runs)]
    if all("clips" in run for run in runs):
        parts.append(_clips(runs))
    parts.append(_reliability(last))
    if all("duplicates" in run for run in runs):
        parts.append(_duplicates(runs))
    return "\n\n".join(parts) + "\n"


def _stills(runs: list[Run]) -> str:
    last = runs[-1]
    rivals = [name for name in last["stills"] if name != PRODUCT]
    rows = []
    for edit in [name for name in last["stills"][PRODUCT] if name != "kinds"]:
        row = [edit, *(_both(_known(runs, "stills"), edit, column) for column in STILLS)]
        row += [_both(_known(runs, "strangers"), edit, "wrong_and_sure")]
        row += [_both(_known(runs, "stills"), edit, "median_seconds")]
        rows.append(row + [_told(last["stills"][rival][edit]["sure_item"]) for rival in rivals])
    return _table(
        ["edit", *STILLS.values(), "strangers, sure", "median s", *(f"{rival}, sure" for rival in rivals)], rows
    )


def _clips(runs: list[Run]) -> str:
    clips = [run["clips"] for run in runs]
    columns = {**CLIPS, "median_seconds": "median s"}
    rows = [[edit, *(_both(clips, edit, column) for column in columns)] for edit in clips[-1]]
    return _table(["clip", *columns.values()], rows)


def _reliability(run: Run) -> str:
    rows = [
        [f"{each['from']:g} to {each['to']:g}", str(each["answers"]), _told(each["confidence"]), _told(each["right"])]
        for each in run["reliability"]
    ]
    return _table(["confidence", "answers", "mean", "right"], rows)


def _duplicates(runs: list[Run]) -> str:
    found = [run["duplicates"] for run in runs]
    rows = [["false copies", " / ".join(str(len(each["false"])) for each in found)]]
    for edit in found[-1]["copies"]:
        shares = (f"{each['copies'][edit]['found']} of {each['copies'][edit]['made']}" for each in found)
        rows.append([f"found: {edit}", " / ".join(shares)])
    rows.append([f"seconds for {found[-1]['items']} items", " / ".join(f"{each['seconds']:.0f}" for each in found)])
    return _table(["duplicates", ""], rows)


def _known(runs: list[Run], part: str) -> list[Run]:
    return [run[part][PRODUCT] for run in runs]


def _both(figures: list[Run], edit: str, column: str) -> str:
    return " / ".join(_told(each.get(edit, {}).get(column)) for each in figures)


def _told(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def draw(runs: list[Run], path: Path) -> None:
    """Left the share answered rightly and surely, a bar an edit and run; right how often a confidence is right."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    last = runs[-1]
    edits = [edit for edit in last["stills"][PRODUCT] if edit not in NOT_EDITS][::-1]
    names = ["before", "after"] if len(runs) == 2 else [PRODUCT]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 0.3 * len(edits) + 1.5), width_ratios=(2, 1))
    thick = 0.8 / len(runs)
    for number, (run, name, colour) in enumerate(zip(runs, names, ("#bbbbbb", "#2266aa")[-len(runs) :], strict=True)):
        shares = [run["stills"][PRODUCT].get(edit, {}).get("sure_item") or 0.0 for edit in edits]
        offset = 0.4 - thick * (number + 0.5)
        left.barh([place + offset for place in range(len(edits))], shares, thick, color=colour, label=name)
    for rival, mark in zip([name for name in last["stills"] if name != PRODUCT], "x+", strict=False):
        found = [last["stills"][rival][edit]["sure_item"] for edit in edits]
        left.plot(found, range(len(edits)), mark, color="#cc4422", label=rival)
    left.set_yticks(range(len(edits)), edits)
    left.set_xlim(0, 1.02)
    left.set_xlabel("right item first and sure")
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.07), ncols=4, fontsize=8)
    right.plot((0, 1), (0, 1), color="#999999", linewidth=1)
    for run, name, colour in zip(runs, names, ("#bbbbbb", "#2266aa")[-len(runs) :], strict=True):
        bins = run["reliability"]
        right.plot([b["confidence"] for b in bins], [b["right"] for b in bins], "o-", color=colour, label=name)
    right.set_xlabel("confidence")
    right.set_ylabel("share that is right")
    right.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
