"""Scanning over HTTP: library roots only, no way out by `..` or links, and a job that takes in what is new."""

from pathlib import Path

import pytest
from made_media import write_image, write_text, write_video
from served import ITEMS, finished_job, problem, served

from vicmae.errors import Forbidden, InvalidRequest, NotFound
from vicmae.server.media_input.library_roots import is_inside, parse_library_roots, resolve_scan_path

SCAN = "/v1/collections/default/scan"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "library"
    (root / "inner").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "library-too").mkdir()
    write_image(root / "a.png", 1)
    write_video(root / "inner" / "v.mp4", seconds=2)
    write_text(root / "notes.jpg")
    write_image(tmp_path / "secret" / "s.png", 9)
    (root / "way-out").symlink_to(tmp_path / "secret")
    (root / "s-link.png").symlink_to(tmp_path / "secret" / "s.png")
    (root / "a-link.png").symlink_to(root / "a.png")
    return root


def test_what_lies_below_a_root_is_allowed(root: Path, tmp_path: Path) -> None:
    assert resolve_scan_path((root,), str(root)) == root
    assert resolve_scan_path((root,), "inner") == root / "inner"
    assert resolve_scan_path((tmp_path / "secret", root), str(root / "inner" / "v.mp4")) == root / "inner" / "v.mp4"
    assert parse_library_roots(f"{root}:{tmp_path}/x/../secret") == (root, tmp_path / "secret")
    assert parse_library_roots("") == ()


@pytest.mark.parametrize("path", ["..", "inner/../../secret", "/etc/../etc", "a\0b", "a\nb", ""])
def test_paths_that_climb_make_no_sense(root: Path, path: str) -> None:
    with pytest.raises(InvalidRequest):
        resolve_scan_path((root,), path)


def test_other_places_and_links_are_refused(root: Path, tmp_path: Path) -> None:
    for path in ("/etc", str(tmp_path), str(tmp_path / "secret"), str(tmp_path / "library-too")):
        with pytest.raises(Forbidden, match="library_roots"):
            resolve_scan_path((root,), path)
    for path in ("way-out", "way-out/s.png", "s-link.png", "a-link.png"):
        with pytest.raises(Forbidden, match="link"):
            resolve_scan_path((root,), path)
    with pytest.raises(Forbidden, match="scans no folders"):
        resolve_scan_path((), str(root))
    with pytest.raises(NotFound):
        resolve_scan_path((root,), "nothing")


def test_what_a_link_leads_out_to_is_not_inside(root: Path) -> None:
    assert is_inside((root,), root / "a.png") and is_inside((root,), root / "a-link.png")
    assert not is_inside((root,), root / "s-link.png") and not is_inside((root,), root / "way-out" / "s.png")


def test_a_scan_takes_in_what_is_new_and_names_what_cannot_be_read(root: Path, tmp_path: Path) -> None:
    with served(tmp_path / "data", library_roots=str(root)) as client:
        answer = client.post(SCAN, json={"path": str(root)})
        assert answer.status_code == 202
        job = finished_job(client, answer.headers["location"])
        assert job["state"] == "succeeded" and job["progress"]["unit"] == "files"
        assert job["progress"]["done"] == job["progress"]["total"]
        assert "notes.jpg" in job["error"]
        names = {item["name"] for item in client.get(ITEMS).json()["data"]}
        assert {"a.png", "v.mp4"} <= names and not names & {"s.png", "s-link.png", "notes.jpg"}
        again = finished_job(client, client.post(SCAN, json={"path": str(root)}).headers["location"])
        assert again["progress"]["total"] == 0, "nothing is new"
        problem(client.post(SCAN, json={"path": "/etc"}), 403)
        problem(client.post(SCAN, json={"path": "way-out"}), 403)
        problem(client.post(SCAN, json={"path": ".."}), 400)
        problem(client.post("/v1/collections/none/scan", json={"path": str(root)}), 404)


def test_nothing_is_scanned_unless_roots_are_set(root: Path, tmp_path: Path) -> None:
    with served(tmp_path / "data") as client:
        assert "library_roots" in problem(client.post(SCAN, json={"path": str(root)}), 403)["detail"]
