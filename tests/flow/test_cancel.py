"""Cancelling jobs over HTTP: one that waits never begins, one that runs ends soon, and what it has done stays."""

import threading
from pathlib import Path
from typing import Any

import pytest
from made_media import write_image, write_video
from served import ITEMS, Gated, added, finished_job, halted, problem, send, served

from vicmae.index.pictures import StoredPicture
from vicmae.server.jobs import job_run

SCAN = "/v1/collections/default/scan"
FILES = 24


@pytest.fixture(autouse=True)
def every_step_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_run, "PROGRESS_SECONDS", 0.0)


def test_a_scan_that_is_cancelled_ends_and_keeps_what_it_took_in(tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    for number in range(FILES):
        write_image(tmp_path / "library" / f"{number}.png", number)
    with halted(tmp_path / "data", tmp_path / "library") as (client, engine):
        job = client.post(SCAN, json={"path": str(tmp_path / "library")}).headers["location"]
        assert engine.busy.wait(20)
        assert client.delete(job).json()["state"] == "cancelled"
        engine.gate.set()
        other = client.post("/v1/collections/default/duplicates").headers["location"]
        assert finished_job(client, other)["state"] == "succeeded", "the worker goes on with the next job"
        told = client.get(job).json()
        taken = client.get(ITEMS, params={"limit": 100}).json()["data"]
        assert told["state"] == "cancelled" and 1 <= told["progress"]["done"] <= len(taken) < FILES
        problem(client.delete(job), 409)
        again = client.post(SCAN, json={"path": str(tmp_path / "library")}).headers["location"]
        assert again != job and finished_job(client, again)["progress"]["total"] == FILES - len(taken)


def test_a_video_that_is_cancelled_while_it_is_embedded_leaves_nothing(tmp_path: Path) -> None:
    with halted(tmp_path / "data") as (client, engine):
        answer = send(client, write_video(tmp_path / "v.mp4", seconds=20))
        assert engine.busy.wait(20)
        assert client.delete(answer.headers["location"]).json()["state"] == "cancelled"
        engine.gate.set()
        added(client, write_video(tmp_path / "w.mp4", seed=2, seconds=1), id="other")
        assert client.get(answer.headers["location"]).json()["state"] == "cancelled"
        assert [item["id"] for item in client.get(ITEMS).json()["data"]] == ["other"]
        uploads = tmp_path / "data" / "collections" / "default" / "uploads"
        assert len(list(uploads.iterdir())) == 1


def test_a_job_that_waits_is_cancelled_at_once_and_one_that_ended_is_not(tmp_path: Path) -> None:
    with halted(tmp_path / "data") as (client, engine):
        first = send(client, write_video(tmp_path / "v.mp4", seconds=2)).headers["location"]
        assert engine.busy.wait(20)
        second = send(client, write_video(tmp_path / "w.mp4", seed=2, seconds=2)).headers["location"]
        assert client.delete(second).json()["state"] == "cancelled"
        engine.gate.set()
        assert finished_job(client, first)["state"] == "succeeded"
        assert "succeeded" in problem(client.delete(first), 409)["detail"]
        problem(client.delete("/v1/jobs/nobody"), 404)
        assert len(client.get(ITEMS).json()["data"]) == 1


def test_a_reembedding_that_is_cancelled_keeps_what_it_did_and_goes_on_later(tmp_path: Path) -> None:
    with served(tmp_path / "data") as client:
        for number in range(FILES):
            added(client, write_image(tmp_path / f"{number}.png", number), id=f"i{number}")
    other = Gated("other-1")
    with served(tmp_path / "data", other) as client:
        other.busy.clear()
        other.gate.clear()
        wish = {"into": "newer", "alias": "now"}
        job = client.post("/v1/collections/default/reembed", json=wish).headers["location"]
        assert other.busy.wait(20)
        assert client.delete(job).json()["state"] == "cancelled"
        other.gate.set()
        scanned = client.post("/v1/collections/newer/duplicates").headers["location"]
        assert finished_job(client, scanned)["state"] == "succeeded", "the worker goes on with the next job"
        done = len(client.get("/v1/collections/newer/items", params={"limit": 100}).json()["data"])
        assert 1 <= done < FILES and client.get(job).json()["state"] == "cancelled"
        problem(client.get("/v1/aliases/now"), 404)
        again = client.post("/v1/collections/default/reembed", json=wish).headers["location"]
        assert again != job and finished_job(client, again)["state"] == "succeeded"
        assert len(client.get("/v1/collections/newer/items", params={"limit": 100}).json()["data"]) == FILES
        assert client.get("/v1/aliases/now").json()["collection"] == "newer"


def test_a_search_for_duplicates_that_is_cancelled_leaves_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, busy = threading.Event(), threading.Event()
    read = StoredPicture.pixels

    def slow(*args: Any, **given: Any) -> Any:
        busy.set()
        assert gate.wait(20)
        return read(*args, **given)

    with served(tmp_path / "data") as client:
        for number in range(4):
            added(client, write_image(tmp_path / f"{number}.png", 7, (64 + number, 48)), id=f"i{number}")
        monkeypatch.setattr(StoredPicture, "pixels", slow)
        answer = client.post("/v1/collections/default/duplicates")
        job = answer.headers["location"]
        assert busy.wait(20)
        assert client.delete(job).json()["state"] == "cancelled"
        gate.set()
        again = client.post("/v1/collections/default/duplicates").headers["location"]
        assert again != job and finished_job(client, again)["state"] == "succeeded"
        told = client.get(job).json()
        assert told["state"] == "cancelled" and told["result_url"] is None
        problem(client.get(f"/v1/collections/default/duplicates/{told['id']}"), 404)
