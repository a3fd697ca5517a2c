"""vicmae evaluate answers: an edit that there is not is refused, and the tables hold every edit."""

from pathlib import Path

import pytest
from made_runs import runner

from vicmae.errors import InvalidRequest
from vicmae.index import cli
from vicmae.index.cli.answer_tables import clip_rows, copy_lines, reliability_rows, still_rows

run = runner(cli.register)
SHARES = {"item": 1.0, "sure_item": 0.5, "candidates": 1.0, "verified": None, "wrong_and_sure": 0.0}
SECONDS = {"median_seconds": 0.25, "p90_seconds": 1.0}


def test_an_unknown_edit_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="There is no edit upside down. Choose of: as it was, jpeg 20"):
        run("evaluate", "answers", tmp_path, "--edit", "upside down")


def test_a_row_for_each_edit_with_the_rivals_at_its_end() -> None:
    stills = {"as it was": {**SHARES, "moment": 1.0, "sure_moment": 0.5, **SECONDS}, "kinds": {}}
    hashed = {"as it was": {"sure_item": 0.75}}
    rows = still_rows(
        {"stills": {"vicmae": stills, "PDQ": hashed}, "strangers": {"vicmae": {"as it was": {"wrong_and_sure": 0.0}}}}
    )
    assert len(rows) == 2 and all(len(row) == len(rows[0]) for row in rows)
    told = dict(zip(*rows, strict=True))
    assert told["edit"] == "as it was" and told["second, sure"] == "0.500" and told["verified"] == "-"
    assert told["PDQ, sure"] == "0.750" and told["median s"] == "0.250" and told["strangers, sure"] == "0.000"


def test_rows_of_clips_confidence_and_copies() -> None:
    head, row = clip_rows({"mirrored": {**SHARES, "stretch": 1.0, "sure_stretch": 1.0, **SECONDS}})
    assert dict(zip(head, row, strict=True))["stretch, sure"] == "1.000"
    assert reliability_rows([{"from": 0.5, "to": 0.8, "answers": 3, "confidence": 0.6, "right": 1.0}])[1] == (
        "0.5 to 0.8",
        "3",
        "0.600",
        "1.000",
    )
    lines = copy_lines(
        {
            "items": 9,
            "compared": 4,
            "seconds": 1.2,
            "false": [{"a": "a.png", "b": "b.png", "kind": "copy"}],
            "copies": {"jpeg 20": {"made": 2, "found": 1}},
        }
    )
    assert "1 false copies" in lines[0] and "a.png and b.png: copy" in lines[1] and "1 of 2 copies found" in lines[2]
