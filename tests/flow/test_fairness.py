"""A search while a long video is embedded: it waits for one batch, not for the video. Judged by order, not by time."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
from made_media import write_video
from numpy.typing import NDArray
from PIL import Image
from served import SEARCH, Gated, finished_job, halted, send

FRAMES_PER_SECOND = 10.0


class Recording(Gated):
    """Notes which batches hold a white picture."""

    def __init__(self) -> None:
        super().__init__()
        self.white: list[bool] = []

    def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.white.append(bool((pixels.reshape(len(pixels), -1).min(axis=1) == 255).any()))
        return super()._run(pixels)


def wait_until_queued(client: httpx.Client) -> None:
    """Until a request waits for the engine."""
    until = time.monotonic() + 20
    while "vicmae_engine_queue_requests 0.0" in client.get("/metrics").text:
        assert time.monotonic() < until, "the search never reached the engine's queue"
        time.sleep(0.01)


def test_a_search_is_not_queued_behind_a_whole_upload(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "white").save(tmp_path / "white.png")
    video = write_video(tmp_path / "v.mp4", seconds=6)
    engine = Recording()
    with (
        halted(tmp_path / "data", engine=engine, frames_per_second=FRAMES_PER_SECOND) as (client, _),
        ThreadPoolExecutor(1) as threads,
    ):
        engine.white.clear()
        job = send(client, video)
        assert job.status_code == 202
        assert engine.busy.wait(10), "the first batch of the video is in the engine"
        search = threads.submit(send, client, tmp_path / "white.png", SEARCH)
        wait_until_queued(client)
        engine.gate.set()
        assert search.result(20).status_code == 200
        assert finished_job(client, job.headers["location"])["state"] == "succeeded"
    assert len(engine.white) >= 60 / 8, "the video was embedded in several batches"
    assert engine.white.index(True) == 1 and engine.white.count(True) == 1
