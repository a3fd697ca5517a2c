"""The main job with the shipped model: a frame cut from a film finds that film and second, by CLI and by HTTP.

The page's way stands in test_page.py. Once on made media, once on the real samples beside the repository.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import pytest
from made_media import frame_of, write_image, write_text, write_video
from PIL import Image
from served import SEARCH, send, served

from vicmae.export.engine import open_engine
from vicmae.settings import SHIPPED_BUNDLE

SAMPLES = Path(__file__).parents[3] / "shared" / "data" / "samples"
SIZE = (320, 240)
FILMS = {f"film-{seed}.mp4": seed for seed in (3, 14, 15, 92)}
SECONDS = 9.0


def vicmae(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vicmae", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def hits_of(query: Path, data: Path) -> list[dict[str, Any]]:
    answer = vicmae("search", query, "--data", data, "--json", "--top", 8)
    assert answer.returncode == 0, answer.stderr
    hits: list[dict[str, Any]] = json.loads(answer.stdout)["data"]
    return hits


def first_hit(query: Path, data: Path) -> dict[str, Any]:
    return hits_of(query, data)[0]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which the CLI indexed four films, two photos and one broken file."""
    folder, data = tmp_path_factory.mktemp("media"), tmp_path_factory.mktemp("data")
    for name, seed in FILMS.items():
        write_video(folder / name, seed, SECONDS, size=SIZE)
    for seed in (65, 35):
        write_image(folder / f"photo-{seed}.jpg", seed, SIZE)
    write_text(folder / "broken.jpg")
    run = vicmae("index", folder, "--data", data, "--json")
    assert run.returncode == 3, run.stderr
    report = json.loads(run.stdout)
    assert (report["added"], len(report["failed"])) == (6, 1)
    assert report["failed"][0]["path"].endswith("broken.jpg") and report["failed"][0]["reason"]
    assert "Traceback" not in run.stderr
    return data


@pytest.mark.parametrize(("name", "second"), [("film-3.mp4", 0.4), ("film-15.mp4", 5.15), ("film-92.mp4", 8.8)])
def test_a_frame_is_found_by_the_command_line(library: Path, tmp_path: Path, name: str, second: float) -> None:
    frame_of(FILMS[name], second, size=SIZE).save(tmp_path / "frame.jpg", quality=80)
    hit = first_hit(tmp_path / "frame.jpg", library)
    assert hit["name"] == name
    assert hit["start_seconds"] == pytest.approx(second, abs=1.0)


def test_frames_and_a_clip_are_found_over_http(library: Path, tmp_path: Path) -> None:
    with open_engine(SHIPPED_BUNDLE, threads=1) as engine, served(library, engine) as client:
        for name, second in (("film-14.mp4", 1.3), ("film-14.mp4", 6.85), ("film-3.mp4", 3.9)):
            frame_of(FILMS[name], second, size=SIZE).save(tmp_path / "frame.png")
            hit = send(client, tmp_path / "frame.png", SEARCH).json()["data"][0]
            assert hit["name"] == name
            assert hit["start_seconds"] == pytest.approx(second, abs=1.0)
        # Three seconds cut from the middle of a film, by their time stamps.
        whole = write_video(tmp_path / "whole.mp4", FILMS["film-92.mp4"], SECONDS, size=SIZE)
        fields = {"target": "clip", "start_seconds": "3", "end_seconds": "6"}
        hit = send(client, whole, SEARCH, **fields).json()["data"][0]
        assert hit["name"] == "film-92.mp4"
        assert hit["start_seconds"] == pytest.approx(3, abs=1.0) and hit["end_seconds"] == pytest.approx(6, abs=1.0)


def test_indexing_again_does_nothing_again(library: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "new.mp4", 77, 2.0)
    for state in ({"added": 1, "unchanged": 0}, {"added": 0, "unchanged": 1}):
        run = vicmae("index", tmp_path, "--data", library, "--json")
        assert run.returncode == 0, run.stderr
        assert {name: json.loads(run.stdout)[name] for name in state} == state


MADE_FROM_IT = ("video_vfr.mp4", "video_vp9_real.webm", "video_odd_444.mp4")  # of the cockatoo's film


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs the sample files in ../shared/data/samples")
def test_the_samples(tmp_path: Path) -> None:
    run = vicmae("index", SAMPLES, "--data", tmp_path / "data", "--json")
    report = json.loads(run.stdout)
    assert run.returncode == 3 and "Traceback" not in run.stderr
    assert report["added"] >= 35
    assert all(failure["reason"] for failure in report["failed"])
    film = SAMPLES / "video_cockatoo.mp4"
    with av.open(str(film)) as container:
        frames = {frame.time: frame.to_ndarray(format="rgb24") for frame in container.decode(video=0) if frame.time}
    for second in (0.75, 3.55, 8.1, 13.2):
        true = min(frames, key=lambda time: abs(time - second))
        Image.fromarray(frames[true]).save(tmp_path / "frame.jpg", quality=90)
        found = [hit for hit in hits_of(tmp_path / "frame.jpg", tmp_path / "data") if hit["verified"]]
        assert {hit["name"] for hit in found} <= {film.name, *MADE_FROM_IT}
        (hit,) = (hit for hit in found if hit["name"] == film.name)
        assert hit["start_seconds"] == pytest.approx(true, abs=1.0)
