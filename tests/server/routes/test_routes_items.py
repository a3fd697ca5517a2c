"""Collections, items and jobs over HTTP: taking in, listing, showing, changing, removing."""

import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from made_media import frame_of, write_animation, write_image, write_video
from PIL import Image, ImageChops, ImageStat
from served import ITEMS, added, finished_job, problem, send, served

from vicmae.export.engine import FakeEngine


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    with served(tmp_path / "data") as client:
        yield client


def test_default_is_always_there_and_others_are_made_once(client: httpx.Client) -> None:
    assert [known["name"] for known in client.get("/v1/collections").json()["data"]] == ["default"]
    made = client.put("/v1/collections/holiday")
    assert made.status_code == 201 and made.headers["location"] == "/v1/collections/holiday"
    assert client.put("/v1/collections/holiday").status_code == 200
    assert [known["name"] for known in client.get("/v1/collections").json()["data"]] == ["default", "holiday"]
    assert client.delete("/v1/collections/holiday").status_code == 204
    told = problem(client.get("/v1/collections/holiday"), 404)
    assert "default" in told["detail"]


def test_a_picture_can_be_found_at_once(client: httpx.Client, tmp_path: Path) -> None:
    answer = send(client, write_image(tmp_path / "a.jpg", 1), id="mine", metadata='{"place": "Ulm"}')
    assert answer.status_code == 201 and answer.headers["location"] == f"{ITEMS}/mine"
    item = client.get(f"{ITEMS}/mine").json()
    assert item == answer.json()
    assert (item["name"], item["kind"], item["mime"]) == ("a.jpg", "image", "image/jpeg")
    assert (item["width"], item["height"], item["metadata"]) == (160, 120, {"place": "Ulm"})
    assert "path" not in item
    stats = client.get("/v1/collections/default").json()
    assert (stats["items"], stats["images"], stats["videos"], stats["frames"]) == (1, 1, 0, 1)


def test_a_video_gets_a_job(client: httpx.Client, tmp_path: Path) -> None:
    answer = send(client, write_video(tmp_path / "v.mp4", seconds=3), metadata='{"day": 3}')
    assert answer.status_code == 202
    location = answer.headers["location"]
    job = finished_job(client, location)
    assert job["state"] == "succeeded" and job["name"] == "v.mp4" and job["collection"] == "default"
    assert job["progress"] == {"done": 6, "total": 6, "unit": "frames"}
    item = client.get(f"{ITEMS}/{job['item_id']}").json()
    assert (item["kind"], item["frames"], item["metadata"]) == ("video", 6, {"day": 3})
    assert abs(item["duration_seconds"] - 3) < 0.1
    assert [known["id"] for known in client.get("/v1/jobs").json()["data"]] == [job["id"]]


def test_a_video_is_sampled_as_its_sender_says(client: httpx.Client, tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", seconds=5, gop=30)
    item = client.get(f"{ITEMS}/{added(client, video, id='cuts', sampling='shots')}").json()
    assert (item["sampling"], item["frames"]) == ("shots", 3)
    assert send(client, video, id="cuts").status_code == 200
    told = problem(send(client, video, id="cuts", sampling="rate"), 409)
    assert "shots" in told["detail"] and "cuts" in told["detail"]
    told = problem(send(client, video, sampling="all"), 400)
    assert "keyframes" in told["detail"]


def test_the_same_bytes_are_taken_in_once(client: httpx.Client, tmp_path: Path) -> None:
    picture, video = write_image(tmp_path / "a.jpg", 1), write_video(tmp_path / "v.mp4", seconds=2)
    first = send(client, picture)
    again = send(client, picture)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    item_id = added(client, video)
    again = send(client, video)
    assert again.status_code == 200 and again.json()["id"] == item_id
    assert client.get("/v1/collections/default").json()["items"] == 2


def test_the_same_video_twice_in_a_row_is_one_job(tmp_path: Path) -> None:
    engine = FakeEngine()
    with served(tmp_path / "data", engine) as client:
        video = write_video(tmp_path / "v.mp4", seconds=4)
        answers = [send(client, video) for _ in range(3)]
        locations = {answer.headers["location"] for answer in answers if answer.status_code == 202}
        assert len(locations) == 1
        finished_job(client, locations.pop())
        assert client.get("/v1/collections/default").json()["items"] == 1


def at_once(client: httpx.Client, paths: list[Path], **fields: str) -> list[httpx.Response]:
    """Sends the files at the same time, each by a thread of its own."""
    together = threading.Barrier(len(paths))

    def one(path: Path) -> httpx.Response:
        together.wait(10)
        return send(client, path, **fields)

    with ThreadPoolExecutor(len(paths)) as threads:
        return list(threads.map(one, paths))


def stored_uploads(data: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in (data / "collections" / "default" / "uploads").iterdir())


def test_of_two_uploads_of_one_id_at_once_the_second_is_refused(client: httpx.Client, tmp_path: Path) -> None:
    kept: list[bytes] = []
    for turn in range(6):
        paths = [write_image(tmp_path / f"{turn}-{seed}.png", 10 * turn + seed) for seed in range(3)]
        answers = at_once(client, paths, id=f"mine-{turn}")
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
        (winner,) = (path for path, answer in zip(paths, answers, strict=True) if answer.status_code == 201)
        for answer in answers:
            if answer.status_code == 409:
                assert f"mine-{turn}" in problem(answer, 409)["detail"]
        assert client.get(f"{ITEMS}/mine-{turn}/media").content == winner.read_bytes()
        kept.append(winner.read_bytes())
    assert stored_uploads(tmp_path / "data") == sorted(kept)
    stats = client.get("/v1/collections/default").json()
    assert (stats["items"], stats["frames"]) == (6, 6)


@pytest.mark.parametrize("fields", [{}, {"id": "mine"}])
def test_of_two_uploads_of_the_same_bytes_at_once_one_is_new(
    client: httpx.Client, tmp_path: Path, fields: dict[str, str]
) -> None:
    answers = at_once(client, [write_image(tmp_path / "a.png", 1)] * 4, **fields)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(stored_uploads(tmp_path / "data")) == 1


def test_of_two_videos_of_one_id_at_once_the_second_is_refused(client: httpx.Client, tmp_path: Path) -> None:
    paths = [write_video(tmp_path / f"{seed}.mp4", seed=seed, seconds=2) for seed in range(3)]
    answers = at_once(client, paths, id="mine")
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409]
    (winner,) = (i for i, answer in enumerate(answers) if answer.status_code == 202)
    assert finished_job(client, answers[winner].headers["location"])["state"] == "succeeded"
    assert client.get(f"{ITEMS}/mine/media").content == paths[winner].read_bytes()
    assert stored_uploads(tmp_path / "data") == [paths[winner].read_bytes()]
    again = at_once(client, [write_video(tmp_path / "v.mp4", seed=9, seconds=2)] * 3)
    assert len({answer.headers["location"] for answer in again}) == 1


def test_of_two_puts_at_once_one_replaces_the_other(client: httpx.Client, tmp_path: Path) -> None:
    paths = [write_image(tmp_path / f"{seed}.png", seed) for seed in range(3)]
    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(lambda path: put(client, "mine", path), paths))
    assert {answer.status_code for answer in answers} <= {200, 201}
    (left,) = stored_uploads(tmp_path / "data")
    assert client.get(f"{ITEMS}/mine/media").content == left
    assert client.get("/v1/collections/default").json()["items"] == 1


def test_the_same_bytes_under_two_ids_are_two_items(client: httpx.Client, tmp_path: Path) -> None:
    picture = write_image(tmp_path / "a.jpg", 1)
    assert send(client, picture, id="one").status_code == 201
    assert send(client, picture, id="two").status_code == 201
    assert client.delete(f"{ITEMS}/one").status_code == 204
    assert client.get(f"{ITEMS}/two/media").content == picture.read_bytes()


def test_pages_hold_every_item_once(client: httpx.Client, tmp_path: Path) -> None:
    ids = {added(client, write_image(tmp_path / f"{seed}.png", seed)) for seed in range(7)}
    seen: list[str] = []
    cursor = None
    while True:
        page = client.get(ITEMS, params={"limit": 3} | ({"cursor": cursor} if cursor else {})).json()
        seen += [item["id"] for item in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == 7 and set(seen) == ids


def test_metadata_is_merged(client: httpx.Client, tmp_path: Path) -> None:
    item_id = added(client, write_image(tmp_path / "a.jpg", 1), metadata='{"a": 1, "c": {"d": true, "e": 1}}')
    patch = {"a": None, "b": [1, 2.5, None, "ü"], "c": {"d": False}}
    merged = {"b": [1, 2.5, None, "ü"], "c": {"d": False, "e": 1}}
    kind = {"content-type": "application/merge-patch+json"}
    answer = client.patch(f"{ITEMS}/{item_id}", content=json.dumps({"metadata": patch}), headers=kind)
    assert answer.json()["metadata"] == merged
    assert client.patch(f"{ITEMS}/{item_id}", json={"metadata": {}}).json()["metadata"] == merged
    assert client.get(f"{ITEMS}/{item_id}").json()["metadata"] == merged
    for letter in "xy":
        told = client.patch(f"{ITEMS}/{item_id}", json={"metadata": {letter: letter * 40_000}})
    assert "bytes" in problem(told, 400)["detail"]
    assert client.patch(f"{ITEMS}/{item_id}", json={"metadata": None}).json()["metadata"] == {}


def put(client: httpx.Client, item_id: str, path: Path | None = None, **fields: str) -> httpx.Response:
    """The file, where there is one, and fields as a multipart form."""
    parts: dict[str, Any] = {name: (None, value) for name, value in fields.items()}
    if path is not None:
        parts["file"] = (path.name, path.read_bytes())
    return client.put(f"{ITEMS}/{item_id}", files=parts)


def test_put_makes_and_replaces_a_picture(client: httpx.Client, tmp_path: Path) -> None:
    first, second = write_image(tmp_path / "a.png", 1), write_image(tmp_path / "b.png", 2)
    assert put(client, "mine", first, metadata='{"a": 1}').status_code == 201
    for _ in range(2):
        answer = put(client, "mine", second)
        assert answer.status_code == 200 and answer.json()["metadata"] == {"a": 1}
    assert client.get(f"{ITEMS}/mine/media").content == second.read_bytes()
    hits = send(client, second, "/v1/collections/default/search").json()["data"]
    assert [(hit["id"], hit["score"] > 0.999) for hit in hits] == [("mine", True)]
    assert put(client, "mine", metadata='{"b": 2}').json()["metadata"] == {"b": 2}
    assert client.get(f"{ITEMS}/mine/media").content == second.read_bytes()
    stats = client.get("/v1/collections/default").json()
    assert (stats["items"], stats["frames"]) == (1, 1)
    assert len(list((tmp_path / "data" / "collections" / "default" / "uploads").iterdir())) == 1


def test_put_replaces_by_a_video_when_its_job_is_done(client: httpx.Client, tmp_path: Path) -> None:
    picture, video = write_image(tmp_path / "a.png", 1), write_video(tmp_path / "v.mp4", seconds=3)
    put(client, "mine", picture)
    answer = put(client, "mine", video, metadata='{"a": 1}')
    assert answer.status_code == 202
    assert finished_job(client, answer.headers["location"])["state"] == "succeeded"
    item = client.get(f"{ITEMS}/mine").json()
    assert (item["kind"], item["frames"], item["metadata"]) == ("video", 6, {"a": 1})
    assert put(client, "mine", video).status_code == 200


def test_a_put_that_cannot_be_read_leaves_what_was_there(client: httpx.Client, tmp_path: Path) -> None:
    picture = write_image(tmp_path / "a.png", 1)
    put(client, "mine", picture)
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    problem(put(client, "mine", tmp_path / "bad.jpg"), 415)
    assert client.get(f"{ITEMS}/mine/media").content == picture.read_bytes()
    problem(put(client, "none", metadata="{}"), 404)
    problem(put(client, "mine", sampling="rate"), 400)


def test_aliases_are_taken_everywhere_and_switched(client: httpx.Client, tmp_path: Path) -> None:
    client.put("/v1/collections/one")
    client.put("/v1/collections/two")
    assert client.put("/v1/aliases/now", json={"collection": "one"}).status_code == 201
    added(client, write_image(tmp_path / "a.png", 1), url="/v1/collections/now/items", id="a")
    assert client.get("/v1/collections/one").json()["items"] == 1
    assert client.get("/v1/collections/now").json()["aliases"] == ["now"]
    found = send(client, tmp_path / "a.png", "/v1/collections/now/search").json()["data"]
    assert found[0]["thumbnail_url"].startswith("/v1/collections/one/items/a/")
    assert client.get("/v1/collections/now/items/a/thumbnail").status_code == 200
    assert client.put("/v1/aliases/now", json={"collection": "two"}).status_code == 200
    assert client.get("/v1/collections/now/items").json()["data"] == []
    assert client.get("/v1/aliases").json() == {"data": [{"alias": "now", "collection": "two"}]}
    assert client.delete("/v1/collections/one").status_code == 204
    assert "alias" in problem(client.delete("/v1/collections/now"), 409)["detail"]
    assert "'now'" in problem(client.delete("/v1/collections/two"), 409)["detail"]
    problem(client.put("/v1/aliases/two", json={"collection": "default"}), 409)
    problem(client.put("/v1/aliases/x", json={"collection": "none"}), 404)
    problem(client.put("/v1/aliases/X", json={"collection": "two"}), 400)
    assert client.delete("/v1/aliases/now").status_code == 204
    problem(client.get("/v1/aliases/now"), 404)
    problem(client.get("/v1/collections/now"), 404)


def test_a_thumbnail_shows_the_second(client: httpx.Client, tmp_path: Path) -> None:
    item_id = added(client, write_video(tmp_path / "v.mp4", seed=4))
    for second, exact in ((0.0, "true"), (3.3, "true"), (3.0, "false")):
        answer = client.get(f"{ITEMS}/{item_id}/thumbnail?seconds={second}&size=80&exact={exact}")
        assert answer.headers["content-type"] == "image/jpeg"
        shown = Image.open(io.BytesIO(answer.content))
        assert shown.size == (80, 60)
        wanted = frame_of(4, second).resize(shown.size)
        assert sum(ImageStat.Stat(ImageChops.difference(shown, wanted)).mean) / 3 < 12
    again = client.get(answer.url, headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304 and not again.content


def test_a_thumbnail_is_the_stored_picture(client: httpx.Client, tmp_path: Path) -> None:
    """That of the frame which stands for the second; also where the file is away, however it is asked for."""
    item_id = added(client, write_video(tmp_path / "v.mp4", seed=31))
    url = f"{ITEMS}/{item_id}/thumbnail"
    stored = client.get(f"{url}?seconds=3.3").content
    assert stored == client.get(f"{url}?seconds=3").content != client.get(f"{url}?seconds=3.3&exact=true").content
    (upload,) = (tmp_path / "data/collections/default/uploads").iterdir()
    upload.unlink()
    assert (
        client.get(f"{url}?seconds=3.3&exact=true&size=161").content == client.get(f"{url}?seconds=3&size=161").content
    )
    wish = {"item": item_id, "seconds": 1, "hit": item_id, "hit_seconds": 3}
    assert client.post("/v1/collections/default/explain", json=wish).status_code == 200
    problem(client.get(f"{ITEMS}/{item_id}/media"), 410)


def test_media_is_served_in_ranges_and_safely(client: httpx.Client, tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", seconds=2)
    url = f"{ITEMS}/{added(client, video)}/media"
    whole = client.get(url)
    assert whole.content == video.read_bytes() and whole.headers["content-type"] == "video/mp4"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["content-disposition"].startswith("inline")
    part = client.get(url, headers={"range": "bytes=10-19"})
    assert part.status_code == 206 and part.content == video.read_bytes()[10:20]
    beyond = client.get(url, headers={"range": "bytes=99999999-"})
    assert problem(beyond, 416)["type"] == "urn:vicmae:problem:unsatisfied-range"
    assert beyond.headers["content-range"] == f"bytes */{video.stat().st_size}"
    for wrong in ("bytes=later", "seconds=1-2", "bytes=9-3"):
        told = problem(client.get(url, headers={"range": wrong}), 400)
        assert told["type"] == "urn:vicmae:problem:malformed-range" and "bytes=0-999" in told["detail"]
    head = client.head(url)
    assert head.headers["content-length"] == str(video.stat().st_size) and not head.content


def test_an_animation_is_a_video_that_shows_as_a_picture(client: httpx.Client, tmp_path: Path) -> None:
    item_id = added(client, write_animation(tmp_path / "a.gif", [1, 2, 3], 500))
    item = client.get(f"{ITEMS}/{item_id}").json()
    assert (item["kind"], item["mime"]) == ("video", "image/gif")
    assert client.get(item["media_url"]).headers["content-type"] == "image/gif"


def test_an_item_finds_others_but_not_itself(client: httpx.Client, tmp_path: Path) -> None:
    video = added(client, write_video(tmp_path / "v.mp4", seed=4))
    still = tmp_path / "still.png"
    frame_of(4, 3.0).save(still)
    picture = added(client, still)
    other = added(client, write_image(tmp_path / "other.jpg", 9))
    found = client.post("/v1/collections/default/search", json={"item": picture}).json()
    assert [hit["id"] for hit in found["data"]] == [video, other]
    assert found["data"][0]["start_seconds"] == 3.0
    moment = {"item": video, "start_seconds": 3.2, "target": "frame", "limit": 1}
    (hit,) = client.post("/v1/collections/default/search", json={"query": moment}).json()["data"]
    assert hit["id"] == picture and hit["score"] > 0.99


def test_a_vector_finds_what_it_was_made_of(client: httpx.Client, tmp_path: Path) -> None:
    picture = write_image(tmp_path / "a.png", 1)
    item_id = added(client, picture)
    added(client, write_image(tmp_path / "b.png", 2))
    files = {"file": ("a.png", picture.read_bytes())}
    vector = client.post("/v1/embeddings/upload", files=files).json()["data"][0]["embedding"]
    for scale in (1, 1000):
        body = {"embedding": [scale * number for number in vector], "limit": 1}
        (hit,) = client.post("/v1/collections/default/search", json=body).json()["data"]
        assert hit["id"] == item_id and hit["score"] == pytest.approx(1, abs=1e-3)


def test_a_relative_data_folder_works_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with served(Path("data")) as client:
        item_id = added(client, write_image(tmp_path / "a.png", 1))
        assert client.get(f"{ITEMS}/{item_id}/media").status_code == 200
        client.delete(f"{ITEMS}/{item_id}")
    assert not list((tmp_path / "data" / "collections" / "default" / "uploads").iterdir())


def test_a_waiting_job_can_be_cancelled(tmp_path: Path) -> None:
    class Held(FakeEngine):
        go = threading.Event()

        def _run(self, pixels):  # type: ignore[no-untyped-def]
            if len(pixels) > 1:
                self.go.wait(20)
            return super()._run(pixels)

    with served(tmp_path / "data", Held()) as client:
        first, second = (send(client, write_video(tmp_path / f"{s}.mp4", seed=s, seconds=2)) for s in (1, 2))
        answer = client.delete(second.headers["location"])
        Held.go.set()
        assert answer.status_code == 200 and answer.json()["state"] == "cancelled"
        assert finished_job(client, first.headers["location"])["state"] == "succeeded"
        assert client.get(second.headers["location"]).json()["state"] == "cancelled"
        assert client.get("/v1/collections/default").json()["items"] == 1
    assert len(list((tmp_path / "data" / "collections" / "default" / "uploads").iterdir())) == 1
