"""vicmae.server.jobs: what runs when. Uploads do not wait for a long job; long jobs wait for each other."""

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from made_media import write_image, write_video

from vicmae.export.engine import FakeEngine
from vicmae.index.catalog import jobs
from vicmae.index.collection import Collection
from vicmae.index.library import Library
from vicmae.media.limits import MediaLimits
from vicmae.server.jobs import worker as worker_of
from vicmae.server.jobs.worker import INGEST, SCAN, Worker


def test_uploads_are_let_in_and_long_jobs_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def noted(name: str) -> Any:
        plain = getattr(Worker, name)

        def run(self: Worker, collection: Collection, job: jobs.Job) -> None:
            told.append(f"{job.kind} begins")
            plain(self, collection, job)
            told.append(f"{job.kind} ends")

        return run

    for name in ("_scan", "_ingest"):
        monkeypatch.setattr(Worker, name, noted(name))
    monkeypatch.setattr(worker_of, "PROGRESS_SECONDS", 0.0)
    root = tmp_path / "root"
    root.mkdir()
    for seed in range(3):
        write_image(root / f"{seed}.png", seed)
    with Library(tmp_path / "data") as library:
        collection = library.create("films", FakeEngine())
        for _ in range(2):
            jobs.add_job(collection, SCAN, None, {"path": str(root), "retry": False})
        collection.uploads.mkdir(parents=True, exist_ok=True)
        shutil.copy(write_video(tmp_path / "film.mp4", 5, seconds=2), collection.uploads / "f.mp4")
        payload = {"file": "f.mp4", "name": "f.mp4", "metadata": {}}
        jobs.add_job(collection, INGEST, "film", payload)
        with Worker(library, FakeEngine(), MediaLimits(), 2.0, roots=[root]):
            until = time.monotonic() + 60
            while any(job.state in ("queued", "running") for job in jobs.list_jobs(collection)):
                assert time.monotonic() < until, jobs.list_jobs(collection)
                time.sleep(0.05)
    assert told == ["scan begins", "ingest begins", "ingest ends", "scan ends", "scan begins", "scan ends"]
