"""Every call of the HTTP surface once, in an order in which each can succeed: what is announced answers."""

import base64
from typing import Any

import httpx
import pytest
from made_media import write_image, write_video
from served import finished_job, served

C = "/v1/collections/default"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, int]]:
    """(method, path, status) of each call, in order."""
    folder = tmp_path_factory.mktemp("walk")
    (folder / "library").mkdir()
    write_image(folder / "library" / "scanned.jpg", 4)
    picture = write_image(folder / "a.jpg", 1).read_bytes()
    film = write_video(folder / "v.mp4", 2, seconds=4).read_bytes()
    url = "data:image/jpeg;base64," + base64.b64encode(picture).decode()
    made: list[tuple[str, str, int]] = []
    with served(folder / "data", library_roots=str(folder / "library")) as client:

        def call(method: str, path: str, **given: Any) -> httpx.Response:
            answer = client.request(method, path, **given)
            made.append((method, path, answer.status_code))
            return answer

        def job_of(answer: httpx.Response) -> str:
            assert finished_job(client, answer.headers["location"])["state"] == "succeeded"
            return answer.headers["location"]

        for path in ("/", "/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/v1/models"):
            call("GET", path)
        call("POST", "/v1/embeddings", json={"model": "fake", "input": [url], "encoding_format": "base64"})
        call("POST", "/v1/embeddings/upload", files=[("file[]", picture), ("file[]", film)], data={"frames": "true"})
        call("PUT", "/v1/collections/other", json={})
        call("GET", "/v1/collections")
        call("GET", "/v1/collections/other")
        call("DELETE", "/v1/collections/other")
        call("POST", f"{C}/items", files={"file": picture}, data={"id": "p", "metadata": '{"a": 1}'})
        job = job_of(call("POST", f"{C}/items", files={"file": film}, data={"id": "v"}))
        call(
            "GET",
            f"{C}/items",
            params={"limit": 1, "filter": '{"must": [{"key": "kind", "match": {"value": "video"}}]}'},
        )
        for method, given in (("GET", {}), ("PATCH", {"json": {"metadata": {"b": 2}}})):
            call(method, f"{C}/items/p", **given)
        call("GET", f"{C}/items/v/thumbnail", params={"seconds": 1})
        call("GET", f"{C}/items/v/media", headers={"range": "bytes=0-9"})
        call(
            "POST", f"{C}/search", json={"query": {"item": "v", "start_seconds": 1, "end_seconds": 3}, "target": "clip"}
        )
        call("POST", f"{C}/search", json={"image": url, "limit": 1, "exact": True})
        call("POST", f"{C}/search", files={"file": film}, data={"target": "clip", "exact": "true"})
        job_of(call("POST", f"{C}/scan", json={"path": str(folder / "library")}))
        report = job_of(call("POST", f"{C}/duplicates")).rpartition("/")[2]
        call("GET", f"{C}/duplicates/{report}")
        call("POST", f"{C}/duplicates/dismiss", json={"a": "p", "b": "v"})
        snapshot = call("POST", f"{C}/snapshots").json()["name"]
        call("POST", f"{C}/verify")
        call("POST", "/v1/snapshots/restore", json={"snapshot": snapshot, "collection": "back"})
        call("GET", "/v1/jobs")
        call("GET", job)
        call("GET", f"{job}/events")
        call("DELETE", job)
        call("DELETE", f"{C}/items/p")
    return made


def test_every_call_answers(told: list[tuple[str, str, int]]) -> None:
    wrong = [call for call in told if call[2] >= 300 and not (call[0] == "DELETE" and "/v1/jobs/" in call[1])]
    assert not wrong
    assert len(told) > 30
    assert [status for method, path, status in told if method == "DELETE" and "/v1/jobs/" in path] == [409], (
        "it has ended"
    )
