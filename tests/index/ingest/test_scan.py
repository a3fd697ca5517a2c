"""vicmae.index.ingest.scan: which files, and what is left to do with them."""

import os
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_media import write_image, write_video
from made_raw import dng

from vicmae.index.catalog.ledger import LedgerRow, State
from vicmae.index.ingest.report import passed_over
from vicmae.index.ingest.scan import Candidate, Walk, plan, walk
from vicmae.index.paths import file_uri, is_gone, uri_path
from vicmae.media.info import is_media


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def names(found: Walk) -> list[str]:
    return [file.path.name for file in found.files]


def row(file: Candidate, state: State = "done", fps: float = 2.0) -> LedgerRow:
    return LedgerRow(file.uri, file.size_bytes, file.mtime_ns, fps, state, reason="It broke.")


def test_a_folder_is_walked_whole_and_sorted(tmp_path: Path) -> None:
    for name in ("b/2.mp4", "a.jpg", "b/1.JPG", "b/c/d/e.webm", "z.wav"):
        touch(tmp_path / name)
    found = walk([tmp_path])
    assert names(found) == ["a.jpg", "1.JPG", "2.mp4", "e.webm", "z.wav"]
    assert found.roots == [tmp_path] and found.unseen == []


def test_hidden_and_other_files_are_no_candidates(tmp_path: Path) -> None:
    for name in (".x.jpg", ".git/a.jpg", "README.md", "index.csv", "noending"):
        touch(tmp_path / name)
    assert walk([tmp_path]).files == []


def test_files_are_known_by_their_first_bytes_under_any_name(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", 1, 0.3)
    stream = write_video(tmp_path / "stream.ts", 1, 0.3)
    tape = write_video(tmp_path / "tape.mpg", 1, 0.3, codec="mpeg2video", fps=25)
    photo = write_image(tmp_path / "photo.jpg", 1)
    made = {"a.insv": film, "b.360": film, "c.LRV": film, "d.gifv": film, "e.MP": film, "noending": film}
    made |= {"f.MOD": tape, "g.TOD": stream, "h.m2t": stream, "i.insp": photo, "j.jpg_large": photo, "k.THM": photo}
    m2ts = b"".join(bytes(4) + packet for packet in packets_of(stream.read_bytes()))
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, source in made.items():
        (folder / name).write_bytes(source.read_bytes())
    (folder / "l.strange").write_bytes(m2ts)
    (folder / "m.dng").write_bytes(dng(np.zeros((16, 16, 3), np.uint8)))
    (folder / "n").write_bytes(dng(np.zeros((16, 16, 3), np.uint8)))
    found = walk([folder])
    assert sorted(names(found)) == sorted([*made, "l.strange", "m.dng", "n"])
    assert not found.passed_over and not found.unseen


def packets_of(stream: bytes) -> list[bytes]:
    return [stream[place : place + 188] for place in range(0, len(stream), 188)]


def test_what_is_passed_over_is_counted_by_suffix(tmp_path: Path) -> None:
    for name, content in {
        "a.txt": b"P1 is the first player",
        "b.TXT": b"",
        "c.pdf": b"%PDF-1.7",
        "d/e.xmp": b"<x/>",
        "none": b"text",
        "BM": b"BM",
    }.items():
        (tmp_path / "d").mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    found = walk([tmp_path])
    assert found.files == []
    assert found.passed_over == {".txt": 2, ".pdf": 1, ".xmp": 1, "": 2}
    assert passed_over(found.passed_over) == (
        "Passed over, since their content is no picture and no video: 2 without a suffix, 2 .txt, 1 .pdf, 1 .xmp."
    )


def test_the_folder_of_a_collection_is_not_walked(tmp_path: Path) -> None:
    inside = tmp_path / "data" / "collections" / "default"
    touch(inside / "catalog.sqlite")
    touch(inside / "pictures" / "a.jpg")
    write_image(tmp_path / "b.jpg", 1).rename(inside / "0f1e2d")
    write_image(tmp_path / "c.jpg", 1)
    found = walk([tmp_path])
    assert names(found) == ["c.jpg"] and not found.passed_over


@given(st.binary(max_size=700))
def test_bytes_by_chance_are_rarely_media(head: bytes) -> None:
    """And looking at them never fails."""
    assert is_media(head) in (True, False)


def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "secret")

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "secret"))

    monkeypatch.setattr(Path, "open", refused)
    found = walk([tmp_path])
    assert [(path.name, reason) for path, reason in found.unseen] == [("secret", "Permission denied.")]


def test_a_file_that_is_named_is_always_a_candidate(tmp_path: Path) -> None:
    named = [touch(tmp_path / name) for name in ("x.strange", ".hidden")]
    assert names(walk(named)) == ["x.strange", ".hidden"]


def test_a_file_reached_twice_counts_once(tmp_path: Path) -> None:
    file = touch(tmp_path / "a" / "1.jpg")
    assert len(walk([tmp_path, tmp_path / "a", file, tmp_path / "a" / ".." / "a"]).files) == 1


def test_missing_paths_are_told_and_the_rest_is_found(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg")
    found = walk([tmp_path / "none", tmp_path / "a.jpg"])
    assert names(found) == ["a.jpg"]
    assert [(path.name, reason) for path, reason in found.unseen] == [("none", "No such file or directory.")]


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    touch(tmp_path / "real" / "a.jpg")
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "back").symlink_to(tmp_path / "top")
    (tmp_path / "real" / "self").symlink_to(tmp_path / "real")
    found = walk([tmp_path / "top"])
    assert [file.path for file in found.files] == [tmp_path / "top" / "link" / "a.jpg"]


def test_a_link_to_nowhere_is_reported_by_reading_it(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to(tmp_path / "none.jpg")
    assert [(file.path.name, file.size_bytes) for file in walk([tmp_path]).files] == [("a.jpg", -1)]


def test_pipes_in_a_folder_are_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    assert walk([tmp_path]).files == []


def test_names_that_are_no_text_are_found(tmp_path: Path) -> None:
    path = touch(tmp_path / os.fsdecode(b"caf\xe9.jpg"))
    (file,) = walk([tmp_path]).files
    assert file.path == path and file.uri.isascii()
    assert uri_path(file.uri) == path


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1))
def test_a_uri_leads_back_to_its_path(name: str) -> None:
    path = Path(os.path.abspath("/made")) / name
    if name not in (".", ".."):
        assert uri_path(file_uri(path)) == path


FILES = [Candidate(Path(f"/m/{i}.jpg"), i, 10 + i) for i in range(6)]


@given(
    st.lists(st.sampled_from(["new", "done", "failed", "changed", "other fps", "queued"]), max_size=6),
    st.booleans(),
)
def test_each_file_has_one_place_in_the_plan(histories: list[str], retry: bool) -> None:
    files = FILES[: len(histories)]
    ledger = {}
    for file, history in zip(files, histories, strict=True):
        if history in ("done", "failed", "queued"):
            ledger[file.uri] = row(file, cast(State, history))
        elif history == "changed":
            ledger[file.uri] = row(Candidate(file.path, file.size_bytes, 0))
        elif history == "other fps":
            ledger[file.uri] = row(file, fps=1.0)
    planned = plan(files, ledger, 2.0, [Path("/m")], retry)
    assert [r.uri for r in planned.unchanged] == [f.uri for f, h in zip(files, histories, strict=True) if h == "done"]
    assert [r.uri for r in planned.failed] == [
        f.uri for f, h in zip(files, histories, strict=True) if h == "failed" and not retry
    ]
    assert len(planned.todo) + len(planned.unchanged) + len(planned.failed) == len(files)
    assert planned.gone == []


def test_only_what_is_missing_below_the_roots_is_gone() -> None:
    ledger = {r.uri: r for r in map(row, FILES)}
    ledger["upload:1"] = LedgerRow("upload:1", 1, 1, 2.0, "done")
    beside = row(Candidate(Path("/m2/1.jpg"), 1, 1))
    ledger[beside.uri] = beside
    assert plan(FILES[:4], ledger, 2.0, [Path("/m")]).gone == [FILES[4].uri, FILES[5].uri]
    assert plan([], ledger, 2.0, [FILES[0].path]).gone == [FILES[0].uri]
    assert plan([], ledger, 2.0, []).gone == []


def test_another_sampling_is_done_anew() -> None:
    ledger = {file.uri: row(file) for file in FILES}
    assert plan(FILES, ledger, 2.0).todo == []
    assert plan(FILES, ledger, 2.0, sampling="auto").todo == FILES


@pytest.mark.parametrize(("path", "gone"), [("here", False), ("none", True), ("here/below", True), ("link", False)])
def test_gone_means_surely_gone(tmp_path: Path, path: str, gone: bool) -> None:
    touch(tmp_path / "here")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert is_gone(tmp_path / path) is gone
