"""The Python client against a real server, its retries against a made one, and the examples as a person runs them."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import numpy as np
import pytest
from made_media import frame_of, write_image, write_video
from served import served

from vicmae.errors import (
    CorruptMedia,
    FetchError,
    NotFound,
    Overloaded,
    TooManyRequests,
    Unauthorized,
    UnsupportedMedia,
    VicmaeError,
)
from vicmae.server.auth.keys import Keys
from vicmae.server.client import AsyncClient, Client

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("data")) as client:
        yield str(client.base_url)


def test_files_in_and_hits_out(address: str, tmp_path: Path) -> None:
    sent: list[tuple[int, int]] = []
    picture, video = write_image(tmp_path / "a.png", 1), write_video(tmp_path / "v.mp4", seed=2, seconds=4)
    frame_of(2, 2.5).save(tmp_path / "frame.png")
    with Client(address) as vicmae:
        (model,) = vicmae.models()
        assert vicmae.embed([picture, video]).shape == (2, model.dim)
        vicmae.create_collection("mine")
        first = vicmae.add(picture, "mine", id="one", metadata={"a": 1}, on_progress=lambda n, of: sent.append((n, of)))
        assert first.item is not None and first.item.metadata == {"a": 1}
        assert sent[-1] == (picture.stat().st_size,) * 2
        film = vicmae.finished(vicmae.add(video, "mine"), "mine", every_seconds=0.05)
        assert {item.id for item in vicmae.items("mine")} == {"one", film.id}
        hit = vicmae.search(tmp_path / "frame.png", "mine", target="frame", limit=1).data[0]
        assert hit.id == film.id and abs(hit.start_seconds - 2.5) <= 0.5
        by_item = vicmae.search(collection="mine", item="one")
        assert [h.id for h in by_item.data] == [film.id]
        by_vector = vicmae.search(collection="mine", embedding=vicmae.embed([picture])[0].tolist())
        assert by_vector.data[0].id == "one"
        vicmae.delete_item("one", "mine")
        with pytest.raises(NotFound, match="one"):
            vicmae.item("one", "mine")
        vicmae.delete_collection("mine")
        assert "mine" not in [known.name for known in vicmae.collections()]


def test_the_same_asynchronously(address: str, tmp_path: Path) -> None:
    picture, video = write_image(tmp_path / "a.png", 11), write_video(tmp_path / "v.mp4", seed=12, seconds=2)

    async def visit() -> None:
        async with AsyncClient(address) as vicmae:
            both = await vicmae.embed([picture, video])
            assert both.shape == (2, (await vicmae.models())[0].dim)
            item = await vicmae.finished(await vicmae.add(video), every_seconds=0.05)
            await vicmae.finished(await vicmae.add(picture))
            assert {found.id async for found in vicmae.items()} >= {item.id}
            assert (await vicmae.search(video)).data[0].id == item.id
            await vicmae.delete_item(item.id)

    anyio.run(visit)


def test_refusals_are_the_errors_they_were(address: str, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    with Client(address) as vicmae:
        with pytest.raises(UnsupportedMedia):
            vicmae.add(tmp_path / "text.png")
        with pytest.raises(CorruptMedia):
            vicmae.add(tmp_path / "empty.png")
        with pytest.raises(NotFound):
            vicmae.search(collection="none", item="x")


def test_a_key_opens(tmp_path: Path) -> None:
    _, text = Keys(tmp_path).create("me", ["search"])
    with served(tmp_path) as server:
        address = str(server.base_url)
        with Client(address) as stranger, pytest.raises(Unauthorized, match="keys create"):
            stranger.models()
        with Client(address, text) as vicmae:
            assert vicmae.models() and list(vicmae.items()) == []


class Moody(httpx.MockTransport):
    """Gives its outcomes in turn, then an empty list of models."""

    def __init__(self, *outcomes: httpx.Response | Exception) -> None:
        self.outcomes, self.asked = list(outcomes), 0
        super().__init__(self.answer)

    def answer(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.asked += 1
        if not self.outcomes:
            return httpx.Response(200, json={"data": []})
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def busy(status: int, after: str | None) -> httpx.Response:
    return httpx.Response(
        status, headers={} if after is None else {"retry-after": after}, json={"type": "", "detail": "No room."}
    )


def test_it_comes_back_when_it_is_told_to() -> None:
    slept: list[float] = []
    moody = Moody(busy(503, "3"), busy(429, "7"), httpx.ConnectError("no"), busy(503, None))
    with Client(transport=moody, sleep=slept.append) as vicmae:
        assert vicmae.models() == []
    assert slept[:2] == [3.0, 7.0] and len(slept) == 4 and slept[3] > slept[2] > 0


@pytest.mark.parametrize(("status", "error"), [(503, Overloaded), (429, VicmaeError)])
def test_it_gives_up_after_some_attempts(status: int, error: type[Exception]) -> None:
    moody = Moody(*[busy(status, "1") for _ in range(9)])
    with Client(transport=moody, retries=2, sleep=lambda _: None) as vicmae, pytest.raises(error, match="No room"):
        vicmae.models()
    assert moody.asked == 3


def test_what_may_have_happened_is_not_done_twice(tmp_path: Path) -> None:
    picture = write_image(tmp_path / "a.png", 1)
    moody = Moody(httpx.ReadError("gone"))
    with Client(transport=moody, sleep=lambda _: None) as vicmae, pytest.raises(FetchError, match="running"):
        vicmae.search(picture)
    assert moody.asked == 1
    moody = Moody(httpx.ReadError("gone"), httpx.Response(202, json={"job": JOB}))
    with Client(transport=moody, sleep=lambda _: None) as vicmae:
        assert vicmae.add(picture).job is not None, "an upload carries an Idempotency-Key, and may"
    assert moody.asked == 2


def test_a_rate_limit_is_its_own_error() -> None:
    told = {"type": "urn:vicmae:problem:too-many-requests", "detail": "Slower."}
    moody = Moody(httpx.Response(429, headers={"retry-after": "9"}, json=told))
    with Client(transport=moody, retries=0) as vicmae, pytest.raises(TooManyRequests) as refused:
        vicmae.models()
    assert refused.value.retry_after_seconds == 9


JOB = {
    **{"id": "j", "kind": "ingest", "state": "failed", "progress": {"done": 0, "total": 0, "unit": "frames"}},
    **{"collection": "default", "name": "a", "item_id": None, "stage": None, "result_url": None, "error": "Broken."},
    **{"created_at": "", "updated_at": ""},
}


def test_a_job_that_failed_says_why(tmp_path: Path) -> None:
    moody = Moody(httpx.Response(202, json={"job": JOB}))
    with Client(transport=moody) as vicmae, pytest.raises(CorruptMedia, match="Broken"):
        vicmae.finished(vicmae.add(write_image(tmp_path / "a.png", 1)))


def run_example(name: str, *words: str) -> str:
    done = subprocess.run([sys.executable, str(EXAMPLES / name), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_examples_run(address: str, tmp_path: Path) -> None:
    video = write_video(tmp_path / "film.mp4", seed=31, seconds=4)
    frame_of(31, 2.5).save(tmp_path / "frame.png")
    told = run_example("find.py", str(tmp_path / "frame.png"), str(video), "--server", address)
    assert told.startswith("film.mp4: ")
    assert "film.mp4" in told.splitlines()[1]
    pictures = [str(write_image(tmp_path / f"{seed}.png", seed)) for seed in range(20)]
    run_example("embed_many.py", str(tmp_path / "v.npz"), *pictures, "--server", address)
    vectors = np.load(tmp_path / "v.npz")["vectors"]
    assert vectors.shape[0] == 20 and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    of_training = {"select_from_pack.py"}  # tests/test_examples.py
    assert {p.name for p in EXAMPLES.glob("*.py")} - of_training == {"find.py", "embed_many.py"}, "one without a test"
