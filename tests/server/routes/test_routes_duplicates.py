"""POST …/align, …/duplicates and …/dismiss, on a real server."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from made_media import picture, write_image, write_video
from served import added, finished_job, problem, send, served

ALIGN = "/v1/collections/default/align"
DUPLICATES = "/v1/collections/default/duplicates"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    with served(tmp_path / "data") as client:
        yield client


def found(client: httpx.Client) -> str:
    """Runs the job; the address of its report."""
    answer = client.post(DUPLICATES)
    assert answer.status_code == 202
    assert answer.json()["job"]["kind"] == "duplicates"
    job = finished_job(client, answer.headers["location"])
    assert job["state"] == "succeeded", job
    return str(job["result_url"])


def test_two_items_are_aligned(client: httpx.Client, tmp_path: Path) -> None:
    film = added(client, write_video(tmp_path / "film.mp4", 1, 12.0, fps=10))
    part = added(client, write_video(tmp_path / "part.mp4", 1, 5.0, fps=10))
    other = added(client, write_video(tmp_path / "other.mp4", 2, 5.0, fps=10))
    answer = client.post(ALIGN, json={"a": part, "b": film}).json()
    best = answer["segments"][0]
    assert best["query_start_seconds"] == 0 and best["query_end_seconds"] == pytest.approx(5, abs=0.6)
    assert best["start_seconds"] == pytest.approx(0, abs=0.6) and best["end_seconds"] == pytest.approx(5, abs=0.6)
    assert best["confidence"] > 0.5 and best["speed"] == 1 and best["mirrored"] is False
    later = client.post(ALIGN, json={"a": part, "b": film, "b_start_seconds": 6.0}).json()["segments"]
    assert all(segment["start_seconds"] >= 6 for segment in later)
    assert client.post(ALIGN, json={"a": part, "b": other}).json()["segments"] == []
    problem(client.post(ALIGN, json={"a": part, "b": "none"}), 404)
    problem(client.post(ALIGN, json={"a": part, "b": film, "a_start_seconds": 3, "a_end_seconds": 2}), 400)
    problem(client.post(ALIGN, json={"a": part}), 422)


def test_a_mirrored_clip_is_found_and_called_so(client: httpx.Client, tmp_path: Path) -> None:
    import av

    added(client, write_video(tmp_path / "film.mp4", 1, 8.0, fps=10))
    with av.open(str(tmp_path / "film.mp4")) as film, av.open(str(tmp_path / "turned.mp4"), "w") as turned:
        stream = turned.add_stream("libx264", rate=10)
        stream.width, stream.height = 160, 120
        for frame in film.decode(video=0):
            pixels = frame.to_ndarray(format="rgb24")[:, ::-1].copy()
            turned.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        turned.mux(stream.encode(None))
    search = "/v1/collections/default/search"
    (hit,) = send(client, tmp_path / "turned.mp4", search).json()["data"]
    assert hit["segments"][0]["mirrored"] is True
    assert hit["segments"][0]["end_seconds"] == pytest.approx(8, abs=0.6)
    (plain,) = send(client, tmp_path / "film.mp4", search).json()["data"]
    assert plain["segments"][0]["mirrored"] is False


def test_duplicates_are_reported_and_dismissed(client: httpx.Client, tmp_path: Path) -> None:
    a = added(client, write_image(tmp_path / "a.png", 9))
    picture(9).save(tmp_path / "b.jpg", quality=40)
    b = added(client, tmp_path / "b.jpg")
    added(client, write_image(tmp_path / "c.png", 10))
    where = found(client)
    report = client.get(where).json()
    (group,) = report["groups"]
    assert sorted(group["items"]) == sorted([a, b])
    assert (group["pairs"][0]["kind"], group["pairs"][0]["variant"]) == ("copy", "same")
    assert client.get(report["items"][a]["media_url"]).status_code == 200
    page = client.get(where, params={"format": "html"})
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'sha256-" in page.headers["content-security-policy"]
    assert len(client.get(where, params={"format": "csv"}).text.splitlines()) == 2

    assert client.post(f"{DUPLICATES}/dismiss", json={"a": b, "b": a}).status_code == 204
    problem(client.post(f"{DUPLICATES}/dismiss", json={"a": a, "b": "none"}), 404)
    later = client.get(found(client)).json()
    assert (later["groups"], later["dismissed_pairs"]) == ([], 1)

    assert {a, b} == {item["id"] for item in client.get(f"{DUPLICATES}/dismiss").json()["data"][0].values()}
    for _ in range(2):
        assert client.delete(f"{DUPLICATES}/dismiss", params={"a": a, "b": b}).status_code == 204
    assert client.get(f"{DUPLICATES}/dismiss").json() == {"data": []}
    assert len(client.get(found(client)).json()["groups"]) == 1
    known = client.get(DUPLICATES).json()["data"]
    assert [job["state"] for job in known] == ["succeeded"] * 3 and known[-1]["result_url"] == where


def test_what_is_no_report_is_not_found(client: httpx.Client) -> None:
    problem(client.get(f"{DUPLICATES}/jnone"), 404)
    problem(client.post("/v1/collections/none/duplicates"), 404)
    problem(client.get("/v1/collections/none/duplicates"), 404)
    problem(client.delete(f"{DUPLICATES}/dismiss"), 422)
    problem(client.get(f"{found(client)}?format=pdf"), 422)
