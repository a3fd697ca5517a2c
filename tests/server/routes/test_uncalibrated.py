"""A model that was never calibrated, through the real app: pictures alone say how sure, no borrowed numbers."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from made_media import write_image, write_video
from served import SEARCH, added, finished_job, send, served

from vicmae.export.calibration import UNCALIBRATED
from vicmae.export.engine import FakeEngine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    with served(folder / "data", FakeEngine(calibration=UNCALIBRATED)) as client:
        for seed in range(4):
            added(client, write_image(folder / f"{seed}.png", seed), id=f"p{seed}")
        added(client, write_video(folder / "film.mp4", 9, 8.0, fps=10), id="film")
        added(client, write_video(folder / "part.mp4", 9, 5.0, fps=8, size=(96, 72), codec="mpeg4"), id="part")
        yield client


@pytest.mark.parametrize(("name", "first"), [("2.png", "p2"), ("part.mp4", "part")])
def test_hits_come_by_score_and_say_how_to_calibrate(client: httpx.Client, folder: Path, name: str, first: str) -> None:
    body = send(client, folder / name, SEARCH, verify="false", start_seconds="0.1").json()
    hits = body["data"]
    assert hits[0]["id"] == first
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
    assert {hit["confidence"] for hit in hits} == {None} == {s["confidence"] for h in hits for s in h["segments"]}
    assert "`vicmae calibrate BUNDLE MEDIA`" in body["plan"]["note"]


@pytest.mark.parametrize(("name", "first"), [("2.png", "p2"), ("part.mp4", "film")])
def test_what_was_looked_at_has_a_confidence_all_the_same(
    client: httpx.Client, folder: Path, name: str, first: str
) -> None:
    body = send(client, folder / name, SEARCH, start_seconds="0.1").json()
    hits = {hit["id"]: hit for hit in body["data"]}
    assert hits[first]["verified"] and hits[first]["confidence"] > 0.9 and body["found"]
    assert all(hit["verified"] is None for hit in body["data"] if hit["confidence"] is None)


def test_stretches_are_aligned_and_looked_at(client: httpx.Client) -> None:
    best, *_ = client.post("/v1/collections/default/align", json={"a": "part", "b": "film"}).json()["segments"]
    assert best["verified"] and best["confidence"] > 0.5


def test_without_calibration_stored_pictures_make_a_duplicate(client: httpx.Client, folder: Path) -> None:
    def pairs() -> set[frozenset[str]]:
        job = finished_job(client, client.post("/v1/collections/default/duplicates").headers["location"])
        report = client.get(job["result_url"]).json()
        told = report["shared"] + [pair for group in report["groups"] for pair in group["pairs"]]
        return {frozenset((pair["a"], pair["b"])) for pair in told}

    assert pairs() == {frozenset(("film", "part"))}
    uploads = [path for path in (folder / "data").rglob("uploads/*") if path.stat().st_size > 0]
    for path in uploads:
        path.rename(path.with_name(path.name + ".away"))
    assert pairs() == {frozenset(("film", "part"))}
