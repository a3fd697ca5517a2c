"""The whole way over HTTP: upload, search, look, delete; and nothing is lost by a restart or a kill."""

import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import pytest
from made_media import frame_of, write_image, write_video
from served import ITEMS, SEARCH, added, finished_job, send, served

from vicmae.export.engine import FakeEngine


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos, two pictures, and questions about them."""
    folder = tmp_path_factory.mktemp("media")
    for seed in (1, 2, 3):
        write_video(folder / f"video-{seed}.mp4", seed=seed)
    for seed in (11, 12):
        write_image(folder / f"picture-{seed}.jpg", seed)
    frame_of(2, 3.2).save(folder / "frame.png")
    write_video(folder / "cut.mp4", seed=3, timestamps=[2.0 + i / 20 for i in range(40)], start_seconds=-2.0)
    return folder


def fill(client: httpx.Client, media: Path) -> dict[str, str]:
    """Everything uploaded: name -> item id."""
    names = ("video-1.mp4", "video-2.mp4", "video-3.mp4", "picture-11.jpg", "picture-12.jpg")
    return {name: added(client, media / name) for name in names}


def test_a_frame_finds_its_video_and_second(tmp_path: Path, media: Path) -> None:
    with served(tmp_path) as client:
        ids = fill(client, media)
        answer = send(client, media / "frame.png", SEARCH, limit="3").json()
        best = answer["data"][0]
        assert best["id"] == ids["video-2.mp4"]
        assert abs(best["start_seconds"] - 3.2) <= 1
        assert best["score"] > 0.8
        assert len(answer["data"]) == 3
        assert set(answer["timing"]) == {"decode_ms", "queue_ms", "engine_ms", "index_ms", "verify_ms"}
        following = send(client, media / "frame.png", SEARCH, limit="3", cursor=answer["next_cursor"]).json()
        found = [hit["id"] for hit in (*answer["data"], *following["data"])]
        assert sorted(found) == sorted(ids.values()) and following["next_cursor"] is None
        picture = client.get(best["thumbnail_url"])
        assert picture.headers["content-type"] == "image/jpeg"


def test_a_clip_finds_the_stretch_it_was_cut_from(tmp_path: Path, media: Path) -> None:
    with served(tmp_path) as client:
        ids = fill(client, media)
        best = send(client, media / "cut.mp4", SEARCH).json()["data"][0]
        assert best["id"] == ids["video-3.mp4"]
        assert abs(best["start_seconds"] - 2) <= 1 and abs(best["end_seconds"] - 4) <= 1
        assert best["segments"][0]["query_start_seconds"] <= 0.5


def test_a_deleted_item_is_found_no_more(tmp_path: Path, media: Path) -> None:
    with served(tmp_path) as client:
        item_id = fill(client, media)["video-2.mp4"]
        assert client.delete(f"{ITEMS}/{item_id}").status_code == 204
        assert client.get(f"{ITEMS}/{item_id}").status_code == 404
        hits = send(client, media / "frame.png", SEARCH).json()["data"]
        assert len(hits) == 4 and item_id not in {hit["id"] for hit in hits}
        assert len(list((tmp_path / "collections" / "default" / "uploads").iterdir())) == 4


def test_a_restart_keeps_everything(tmp_path: Path, media: Path) -> None:
    with served(tmp_path) as client:
        fill(client, media)
        before = client.get(ITEMS).json()
        hits = send(client, media / "frame.png", SEARCH).json()["data"]
    with served(tmp_path) as client:
        assert client.get(ITEMS).json() == before
        assert send(client, media / "frame.png", SEARCH).json()["data"] == hits


SLOW_SERVER = """
    import sys, time
    from pathlib import Path
    from vicmae.export.engine import FakeEngine
    from vicmae.server.run import run
    from vicmae.settings import load_settings

    class Slow(FakeEngine):
        def _run(self, pixels):
            time.sleep(float(sys.argv[2]))
            return super()._run(pixels)

    run(load_settings(data=Path(sys.argv[1]), port=0), engine=Slow(max_batch=1))
"""


def start(data: Path, seconds_a_frame: float) -> tuple["subprocess.Popen[str]", str]:
    """A server in a process of its own, and its address, when it says that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SLOW_SERVER), str(data), str(seconds_a_frame)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = process.stdout.readline()
    found = re.fullmatch(r"vicmae is ready: (http://127\.0\.0\.1:\d+)\n", said)
    assert found, said
    return process, found[1]


def end(process: "subprocess.Popen[str]", number: signal.Signals) -> int:
    process.send_signal(number)
    code = process.wait(timeout=30)
    assert process.stdout is not None
    process.stdout.close()
    return code


def test_a_killed_server_finishes_acknowledged_videos_when_it_is_back(tmp_path: Path, media: Path) -> None:
    process, address = start(tmp_path, seconds_a_frame=0.2)
    try:
        with httpx.Client(base_url=address, timeout=30) as client:
            answers = [send(client, media / f"video-{seed}.mp4") for seed in (1, 2)]
            assert [answer.status_code for answer in answers] == [202, 202]
            half_way = tmp_path / "incoming" / "half-an-upload"
            half_way.write_bytes(b"never acknowledged")
    finally:
        assert end(process, signal.SIGKILL) == -signal.SIGKILL
    with served(tmp_path) as client:
        for answer in answers:
            job = finished_job(client, answer.headers["location"])
            assert job["state"] == "succeeded" and job["progress"]["done"] == 12
        items = client.get(ITEMS).json()["data"]
        assert {item["name"] for item in items} == {"video-1.mp4", "video-2.mp4"}
        assert {item["frames"] for item in items} == {12}
        assert not half_way.exists()


def test_a_stopped_server_ends_well_and_puts_its_job_back(tmp_path: Path, media: Path) -> None:
    process, address = start(tmp_path, seconds_a_frame=0.1)
    try:
        with httpx.Client(base_url=address, timeout=30) as client:
            location = send(client, media / "video-1.mp4").headers["location"]
    finally:
        assert end(process, signal.SIGTERM) == 0
    with served(tmp_path) as client:
        assert finished_job(client, location)["state"] == "succeeded"


def test_uploads_that_nobody_knows_are_swept_at_the_start(tmp_path: Path, media: Path) -> None:
    with served(tmp_path) as client:
        added(client, media / "picture-11.jpg")
    uploads = tmp_path / "collections" / "default" / "uploads"
    (kept,) = uploads.iterdir()
    (uploads / ("0" * 32)).write_bytes(b"left by a crash before it was acknowledged")
    with served(tmp_path) as client:
        assert list(uploads.iterdir()) == [kept]
        (item,) = client.get(ITEMS).json()["data"]
        assert client.get(item["media_url"]).content == (media / "picture-11.jpg").read_bytes()


def test_another_model_may_look_but_not_search(tmp_path: Path, media: Path) -> None:
    with served(tmp_path) as client:
        item_id = added(client, media / "picture-11.jpg")
    with served(tmp_path, FakeEngine(fingerprint="another")) as client:
        assert client.get(f"{ITEMS}/{item_id}").status_code == 200
        assert client.get("/v1/collections/default").json()["searchable"] is False
        for answer in (
            client.post(SEARCH, json={"item": item_id}),
            send(client, media / "frame.png"),
            client.put("/v1/collections/default"),
        ):
            assert answer.status_code == 409
            assert "vicmae reembed" in answer.json()["detail"]


def test_a_second_server_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with served(tmp_path):
        script = textwrap.dedent(SLOW_SERVER)
        second = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path), "0"],
            capture_output=True,
            text=True,
            timeout=30,
            env=os.environ,
        )
    assert second.returncode != 0
    assert "Another vicmae server already serves" in second.stderr
