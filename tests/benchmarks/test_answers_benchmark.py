"""benchmarks/answers.py: both runs in each cell, different questions refused, and a plot."""

import json
from pathlib import Path
from typing import Any

import answers
import pytest

SECONDS = {"median_seconds": 0.2, "p90_seconds": 0.4}


def run(share: float, **more: Any) -> dict[str, Any]:
    still = {name: share for name in ("item", "sure_item", "sure_moment", "candidates", "verified")}
    figures = {**still, "wrong_and_sure": 0.0, **SECONDS}
    edits = {"as it was": figures, "inset": figures, "all": figures}
    clip = {**figures, "sure_stretch": share}
    false = [{"a": "a", "b": "b", "kind": "copy", "group": "slides"}] if share < 0.5 else []
    return {
        "model": "m",
        "engine": "onnxruntime-int8",
        "library": {"photos": 9},
        "queries": 2,
        "half": None,
        "seed": 0,
        "stills": {"vicmae": {**edits, "kinds": {}}, "PDQ": edits},
        "strangers": {"vicmae": edits},
        "clips": {"mirrored": clip, "all": clip},
        "reliability": [{"from": 0.5, "to": 0.8, "answers": 4, "confidence": 0.6, "right": share}],
        "duplicates": {"items": 9, "seconds": 3.0, "false": false, "copies": {"jpeg 20": {"made": 2, "found": 1}}},
        **more,
    }


def test_both_runs_stand_in_each_cell() -> None:
    text = answers.markdown([run(0.25), run(0.75)])
    (row,) = [line for line in text.splitlines() if line.startswith("| inset")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1] == "0.25 / 0.75" and cells[-1] == "0.75"
    assert "| false copies | 1 / 0 |" in text and "| found: jpeg 20 | 1 of 2 / 1 of 2 |" in text
    assert "| mirrored | 0.25 / 0.75 |" in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.count("|") >= 3 for line in lines)


def test_one_run_alone_and_a_run_without_clips() -> None:
    alone = run(0.75)
    del alone["clips"], alone["duplicates"]
    text = answers.markdown([alone])
    assert "| inset | 0.75 |" in text and "mirrored" not in text and "false copies" not in text


def test_runs_that_asked_different_questions_are_told() -> None:
    assert answers.differences(run(0.2), run(0.7)) == ""
    assert answers.differences(run(0.2), run(0.7, seed=1)) == "seed 0 and 1"


def test_tables_and_a_plot_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    for name, share in (("before", 0.25), ("after", 0.75)):
        (tmp_path / f"{name}.json").write_text(json.dumps(run(share)))
    words = ["answers.py", tmp_path / "after.json", "--before", tmp_path / "before.json", "--out", tmp_path / "made"]
    monkeypatch.setattr("sys.argv", [str(word) for word in words])
    answers.main()
    assert (tmp_path / "made" / "answers.md").read_text().count("0.25 / 0.75") > 5
    assert (tmp_path / "made" / "answers.png").read_bytes()[:4] == b"\x89PNG"
