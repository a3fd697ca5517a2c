"""vicmae index, search, collections: what is printed, and with which exit code."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from made_items import ENGINE
from made_media import frame_of, write_image, write_video
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from vicmae.errors import Conflict, CorruptMedia, InvalidRequest, MediaTooLarge, ModelMismatch, NotFound
from vicmae.export.engine import FakeEngine
from vicmae.index import cli
from vicmae.index.library import Library

Run = Callable[..., str]
SAMPLES = Path(__file__).parents[4] / "shared" / "data" / "samples"


@pytest.fixture(autouse=True)
def fake_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vicmae.export.engine.open_engine", lambda folder, **options: ENGINE)


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    write_image(folder / "a.png", 1)
    write_image(folder / "b[red].jpg", 2)
    write_video(folder / "film.mp4", 3, 20.0, fps=10)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Run:
    app = app_of_index()

    def call(*words: object, code: int = 0, stdin: str | None = None) -> str:
        result = CliRunner().invoke(app, [*map(str, words), "--data", str(tmp_path / "data")], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.stdout

    return call


def test_a_folder_is_indexed_and_then_unchanged(run: Run, media: Path) -> None:
    assert run("index", media) == "3 added, 0 unchanged, 0 failed\n"
    assert run("index", media) == "0 added, 3 unchanged, 0 failed\n"


def test_another_sampling_is_read_again(run: Run, media: Path) -> None:
    assert run("index", media / "film.mp4", "--sampling", "keyframes") == "1 added, 0 unchanged, 0 failed\n"
    assert run("index", media / "film.mp4", "--sampling", "keyframes") == "0 added, 1 unchanged, 0 failed\n"
    assert run("index", media / "film.mp4") == "0 added, 1 updated, 0 unchanged, 0 failed\n"


def test_bad_files_are_told_with_their_reason_each_time(run: Run, media: Path) -> None:
    (media / "bad.jpg").write_bytes(b"no picture")
    for added, unchanged in ((3, 0), (0, 3)):
        first, *rest = run("index", media, code=3).splitlines()
        assert first == f"{added} added, {unchanged} unchanged, 1 failed"
        (line,) = rest
        assert line.startswith(f"{media / 'bad.jpg'}: ") and len(line) > len(str(media)) + 20


def test_retry_tries_again_what_failed(run: Run, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (media / "bad.jpg").write_bytes(b"no picture")
    run("index", media, code=3)
    seen: list[str] = []

    def refuse(_: object, path: Path, limits: object) -> None:
        seen.append(path.name)
        raise ZeroDivisionError

    monkeypatch.setattr("vicmae.media.sandbox.Sandbox.probe", refuse)
    run("index", media, code=3)
    assert seen == []
    with pytest.raises(ZeroDivisionError):
        run("index", media, "--retry")
    assert seen == ["bad.jpg"]


def test_json_tells_the_same(run: Run, media: Path) -> None:
    (media / "bad.jpg").write_bytes(b"no picture")
    report = json.loads(run("index", media, media / "none.jpg", "--json", code=3))
    assert (report["added"], report["unchanged"], report["updated"]) == (3, 0, 0)
    assert [(Path(f["path"]).name, f["stage"]) for f in report["failed"]] == [
        ("none.jpg", "read"),
        ("bad.jpg", "probe"),
    ]
    assert all(f["reason"] for f in report["failed"])


def test_nothing_good_is_a_failure(run: Run, media: Path, tmp_path: Path) -> None:
    (media / "bad.jpg").write_bytes(b"no picture")
    run("index", media / "bad.jpg", code=1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound, match="empty: no picture and no video"):
        run("index", tmp_path / "empty", "-c", "other")
    with pytest.raises(NotFound, match="none: No such file"):
        run("index", tmp_path / "none")
    assert json.loads(run("collections", "--json"))["data"][0]["name"] == "default"


def test_a_list_on_stdin(run: Run, media: Path) -> None:
    listed = f"{media / 'a.png'}\n\n{media / 'film.mp4'}\n"
    assert run("index", "-", stdin=listed).startswith("2 added")
    assert run("index", "-", stdin=listed.replace("\n", "\0")).startswith("0 added, 2 unchanged")
    with pytest.raises(NotFound, match="stdin"):
        run("index", "-", stdin="")


def test_prune_removes_only_what_is_gone_below_the_paths(run: Run, media: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_image(other / "c.png", 5)
    run("index", media, other)
    (media / "a.png").unlink()
    (other / "c.png").unlink()
    assert run("index", media) == "0 added, 2 unchanged, 0 failed\n"
    assert run("index", media, "--prune") == "0 added, 2 unchanged, 1 removed, 0 failed\n"
    assert json.loads(run("collections", "--json"))["data"][0]["items"] == 3
    with pytest.raises(NotFound):
        run("index", media / "none", "--prune")


def test_another_frame_rate_reads_videos_anew(run: Run, media: Path) -> None:
    run("index", media)
    assert run("index", media, "--fps", "4") == "0 added, 1 updated, 2 unchanged, 0 failed\n"
    with pytest.raises(InvalidRequest, match="frames_per_second"):
        run("index", media, "--fps", "0")


def test_a_picture_finds_its_film(run: Run, media: Path, tmp_path: Path) -> None:
    run("index", media)
    frame_of(3, 12.0, fps=10).save(tmp_path / "frame.png")
    header, best, *_ = run("search", tmp_path / "frame.png").splitlines()
    assert header.split() == ["#", "sure", "score", "time", "file"]
    rank, sure, score, time, file = best.split()
    assert (rank, time, file) == ("1", "0:12.00–0:12.50", str(media / "film.mp4"))
    assert float(score) > 0.9 and int(sure.rstrip("%")) > 50


def test_a_video_is_looked_for_as_a_clip(run: Run, media: Path) -> None:
    run("index", media)
    words = ("search", media / "film.mp4", "--start", "5", "--end", "10")
    answer = json.loads(run(*words, "--json", "--top", "1"))
    assert set(answer) == {"data", "found", "plan", "timing", "next_cursor"}
    assert answer["plan"]["target"] == "clip"
    assert set(answer["timing"]) == {"decode_ms", "queue_ms", "engine_ms", "index_ms", "verify_ms"}
    (hit,) = answer["data"]
    assert hit["name"] == "film.mp4" and hit["uri"] == (media / "film.mp4").as_uri()
    assert hit["start_seconds"] == pytest.approx(5, abs=1) and hit["end_seconds"] == pytest.approx(10, abs=1)
    assert hit["segments"][0]["query_end_seconds"] == pytest.approx(10, abs=1)
    frame = json.loads(run(*words, "--frame", "--json", "--top", "1"))
    plan = frame["plan"]
    assert (plan["target"], plan["query_frames"], plan["index"], plan["recall_estimate"]) == ("frame", 1, "exact", 1.0)
    exact = json.loads(run(*words, "--frame", "--json", "--top", "1", "--exact"))
    assert exact["data"] == frame["data"] and exact["plan"] == plan
    assert frame["data"][0]["start_seconds"] == pytest.approx(5, abs=0.5)


def test_a_region_and_vectors_alone_can_be_asked(run: Run, media: Path, tmp_path: Path) -> None:
    run("index", media)
    both = Image.new("RGB", (640, 240), "white")
    both.paste(frame_of(3, 12.0, fps=10, size=(320, 240)), (320, 0))
    both.save(tmp_path / "both.png")
    words = ("search", tmp_path / "both.png", "--region", "0.5,0,1,1", "--json")
    found = json.loads(run(*words))
    best = found["data"][0]
    assert best["name"] == "film.mp4" and best["verified"] and found["found"]
    assert best["query_region"][0][0] == pytest.approx(0.5, abs=0.05)
    alone = json.loads(run(*words, "--no-verify"))
    assert alone["found"] is None and {hit["verified"] for hit in alone["data"]} == {None}
    assert json.loads(run(*words, "--no-refine"))["data"] == alone["data"], "its old name"


def test_questions_that_make_no_sense_are_told(run: Run, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFound, match="There is no collection 'default'"):
        run("search", media / "a.png")
    run("index", media)
    (media / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    with pytest.raises(CorruptMedia):
        run("search", media / "bad.jpg")
    with pytest.raises(NotFound, match="There is no file"):
        run("search", media / "none.jpg")
    with pytest.raises(InvalidRequest, match="after the start"):
        run("search", media / "film.mp4", "--start", "5", "--end", "5")
    with pytest.raises(InvalidRequest, match="begins at 50"):
        run("search", media / "film.mp4", "--start", "50")
    with pytest.raises(InvalidRequest, match="--exact"):
        run("search", media / "a.png", "--min-recall", "0.9")
    run("search", media / "a.png", "--top", "0", code=2)
    monkeypatch.setenv("VICMAE_MAX_QUERY_SECONDS", "3")
    with pytest.raises(MediaTooLarge, match="max_query_seconds"):
        run("search", media / "film.mp4")
    monkeypatch.setattr("vicmae.export.engine.open_engine", lambda folder, **options: FakeEngine(fingerprint="other"))
    with pytest.raises(ModelMismatch):
        run("search", media / "a.png")


def test_a_filter_narrows_the_search(run: Run, media: Path) -> None:
    run("index", media)
    films = '{"must": [{"key": "kind", "match": {"value": "video"}}]}'
    found = json.loads(run("search", media / "a.png", "--filter", films, "--json"))
    assert [hit["name"] for hit in found["data"]] == ["film.mp4"]
    none = '{"must": [{"key": "name", "match": {"value": "none"}}]}'
    assert run("search", media / "a.png", "--filter", none) == ""
    with pytest.raises(InvalidRequest, match=r"filter\.must\[0\]"):
        run("search", media / "a.png", "--filter", '{"must": [{"key": "nonsense"}]}')


def test_pages_follow_one_another(run: Run, media: Path) -> None:
    run("index", media)
    names, cursor, pages = [], None, 0
    while pages == 0 or cursor is not None:
        more = () if cursor is None else ("--cursor", cursor)
        answer = json.loads(run("search", media / "a.png", "--top", "2", "--json", *more))
        names += [hit["name"] for hit in answer["data"]]
        cursor, pages = answer["next_cursor"], pages + 1
    assert (sorted(names), pages) == (["a.png", "b[red].jpg", "film.mp4"], 2)
    cursor = json.loads(run("search", media / "a.png", "--top", "1", "--json"))["next_cursor"]
    assert "film.mp4" in run("search", media / "a.png", "--top", "2", "--cursor", cursor)
    with pytest.raises(InvalidRequest, match="another search"):
        run("search", media / "a.png", "--cursor", cursor, "--exact")
    with pytest.raises(InvalidRequest, match="not one we gave"):
        run("search", media / "a.png", "--cursor", "nonsense")


def test_a_damaged_collection_is_told_and_dropped(run: Run, media: Path, tmp_path: Path) -> None:
    run("index", media, "-c", "trips")
    run("index", media, "-c", "other")
    run("snapshot", "create", "-c", "trips", "-o", tmp_path / "trips.tar")
    catalog = tmp_path / "data" / "collections" / "trips" / "catalog.sqlite"
    catalog.write_bytes(b"no catalog at all" * 500)
    told = CliRunner().invoke(app_of_index(), ["collections", *data_of(media)])
    assert "other" in told.stdout and "trips" not in told.stdout
    assert "trips cannot be opened" in told.stderr and "vicmae collections drop trips" in told.stderr
    (damaged,) = json.loads(run("collections", "--json"))["damaged"]
    assert damaged["name"] == "trips" and "damaged" in damaged["reason"]
    run("snapshot", "restore", tmp_path / "trips.tar", "--force")
    assert json.loads(run("collections", "--json"))["damaged"] == []
    catalog.write_bytes(b"no catalog at all" * 500)
    run("collections", "drop", "trips", "--yes")
    assert not catalog.parent.exists()


def app_of_index() -> typer.Typer:
    app = typer.Typer()
    cli.register(app)
    return app


def data_of(media: Path) -> tuple[str, str]:
    """Where the fixture `run` keeps its data."""
    return ("--data", str(media.parent / "data"))


def test_names_that_are_no_text_can_be_printed(run: Run, media: Path) -> None:
    os.rename(os.fsencode(media / "a.png"), os.fsencode(media) + b"/caf\xe9.png")
    (media / os.fsdecode(b"bad\xe9.jpg")).write_bytes(b"no")
    assert "bad\ufffd.jpg" in run("index", media, code=3)
    assert "caf\ufffd.png" in run("search", media / os.fsdecode(b"caf\xe9.png"))


def test_collections_are_listed_and_dropped(run: Run, media: Path, tmp_path: Path) -> None:
    assert run("collections") == ""
    run("index", media, "-c", "trips")
    header, line = run("collections").splitlines()
    assert header.split() == ["name", "items", "model", "created"]
    assert line.split()[:3] == ["trips", "3", "fake"]
    run("collections", "alias", "latest", "trips")
    assert run("collections").splitlines()[1].split()[-1] == "latest"
    assert run("search", media / "a.png", "-c", "latest", "--top", "1").count("a.png") == 1
    with pytest.raises(Conflict, match="latest"):
        run("collections", "drop", "trips", "--yes")
    run("collections", "unalias", "latest")
    run("collections", "drop", "trips", stdin="n\n", code=1)
    run("collections", "drop", "trips", "--yes")
    assert json.loads(run("collections", "--json")) == {"data": [], "damaged": []}
    assert (media / "a.png").exists()
    with pytest.raises(NotFound):
        run("collections", "drop", "trips", "--yes")


def test_ctrl_c_tells_what_is_safe(run: Run, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = FakeEngine()
    calls: list[int] = []

    def embed(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return FakeEngine.embed(real, pixels)

    monkeypatch.setattr(ENGINE, "embed", embed)
    run("index", media, code=130)
    with Library(tmp_path / "data") as library:
        assert library.open("default").count() < 3


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="../shared/data/samples is not here")
def test_odd_files_are_indexed_or_told(run: Run) -> None:
    """55 files, two of them no media by name; at least 35 can be read, each other one has a reason."""
    report = json.loads(run("index", SAMPLES, "--json", code=3))
    assert report["added"] >= 35
    assert report["added"] + len(report["failed"]) == 55
    assert "audio_only.wav" in {Path(failure["path"]).name for failure in report["failed"]}
    assert all(failure["reason"].endswith((".", ")")) for failure in report["failed"])


def test_duplicates_are_told_reported_and_dismissed(run: Run, media: Path, tmp_path: Path) -> None:
    (media / "copy.mp4").write_bytes((media / "film.mp4").read_bytes())
    run("index", media)
    lines = run("duplicates").splitlines()
    assert lines[0] == "group 1: 2 items"
    assert lines[1].startswith("  best: ") and "the first one added" in lines[1]
    assert lines[2].startswith("  exact: ") and "film.mp4" in lines[2] and "copy.mp4" in lines[2]
    assert len(json.loads(run("duplicates", "--json"))["groups"]) == 1
    assert len(run("duplicates", "--report", "csv").splitlines()) == 2
    assert run("duplicates", "--report", "html", "-o", tmp_path / "report.html") == ""
    page = (tmp_path / "report.html").read_text()
    assert (media / "film.mp4").as_uri() in page
    with pytest.raises(InvalidRequest, match="cannot be written"):
        run("duplicates", "-o", tmp_path / "none" / "report.txt")
    run("duplicates", "--dismiss", media / "film.mp4", media / "copy.mp4")
    assert run("duplicates") == ""
    with pytest.raises(NotFound):
        run("duplicates", "--dismiss", media / "film.mp4", "none")
