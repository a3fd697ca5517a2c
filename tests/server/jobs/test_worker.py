"""vicmae.server.jobs.worker: what runs when. Uploads do not wait for a long job; long jobs wait for each other."""

import shutil
import time
from pathlib import Path

import pytest
from made_media import write_image, write_video

from vicmae.export.engine import FakeEngine
from vicmae.index.catalog import jobs
from vicmae.index.ingest.options import IngestOptions
from vicmae.index.library import Library
from vicmae.server.jobs import job_run, worker
from vicmae.server.jobs.handlers import HANDLERS, JobContext
from vicmae.server.jobs.job_run import JobRun
from vicmae.server.jobs.kinds import INGEST, SCAN
from vicmae.server.jobs.worker import Worker


def test_uploads_are_let_in_and_long_jobs_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def noted(context: JobContext, run: JobRun) -> None:
        order.append(f"{run.job.kind} begins")
        HANDLERS[run.job.kind](context, run)
        order.append(f"{run.job.kind} ends")

    monkeypatch.setattr(worker, "HANDLERS", dict.fromkeys(HANDLERS, noted))
    monkeypatch.setattr(job_run, "PROGRESS_SECONDS", 0.0)
    root = tmp_path / "root"
    root.mkdir()
    for seed in range(3):
        write_image(root / f"{seed}.png", seed)
    with Library(tmp_path / "data") as library:
        collection = library.create("films", FakeEngine())
        for _ in range(2):
            jobs.add_job(collection.catalog, SCAN, None, {"path": str(root), "retry": False})
        collection.uploads.mkdir(parents=True, exist_ok=True)
        shutil.copy(write_video(tmp_path / "film.mp4", 5, seconds=2), collection.uploads / "f.mp4")
        payload = {"file": "f.mp4", "name": "f.mp4", "metadata": {}}
        jobs.add_job(collection.catalog, INGEST, "film", payload)
        with Worker(JobContext(library, FakeEngine(), IngestOptions(), (root,))):
            until = time.monotonic() + 60
            while any(job.state in ("queued", "running") for job in jobs.list_jobs(collection.catalog)):
                assert time.monotonic() < until, jobs.list_jobs(collection.catalog)
                time.sleep(0.05)
    assert order == ["scan begins", "ingest begins", "ingest ends", "scan ends", "scan begins", "scan ends"]
