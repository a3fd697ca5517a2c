"""Heat maps of what two pictures share: as numbers, as a file, and over HTTP."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
import typer
from made_media import frame_of, picture, write_image, write_video
from made_runs import NANO, noise_pixels, write_bundle
from numpy.typing import NDArray
from PIL import Image
from served import added, problem, send, served
from typer.testing import CliRunner

from vicmae.errors import InvalidRequest
from vicmae.export.engine import FakeEngine, OnnxRuntimeEngine
from vicmae.export.explanation import explain, side_by_side
from vicmae.index import cli
from vicmae.media.frames import Frames

EXPLAIN = "/v1/collections/default/explain"
SPEC = NANO.input_spec(32, fit="squash")


def frames(image: Image.Image) -> Frames:
    return Frames(np.asarray(image.convert("RGB"))[None], np.zeros(1))


def quarters(side: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of each quarter of a grid, (2, 2)."""
    half = len(side) // 2
    return np.asarray(side.reshape(2, half, 2, half).mean(axis=(1, 3)))


def test_what_both_hold_glows_wherever_it_stands() -> None:
    part = Image.new("RGB", (80, 60), "red")
    part.paste("lime", (40, 0, 80, 60))
    hit = Image.new("RGB", (160, 120), "blue")
    hit.paste(part, (80, 60))
    why = explain(FakeEngine(), frames(part), frames(hit))
    lit = quarters(why.hit.grid)
    assert lit[1, 1] > 0.9 and max(lit[0, 0], lit[0, 1], lit[1, 0]) < 0.3
    assert why.query.grid.shape == (8, 8) and 0 <= why.query.grid.min() <= why.query.grid.max() <= 1 + 1e-6


def test_a_picture_explains_itself_fully() -> None:
    why = explain(FakeEngine(), frames(picture(2)), frames(picture(2)))
    assert why.score == pytest.approx(1, abs=1e-5)
    assert why.query.grid == pytest.approx(1, abs=1e-4) and why.hit.grid == pytest.approx(1, abs=1e-4)


def test_overlays_keep_the_shape_of_the_picture() -> None:
    why = explain(FakeEngine(), frames(picture(1, (160, 90))), frames(picture(2, (90, 160))))
    for side in (why.query, why.hit):
        assert side.overlay().shape == side.picture.shape
    sheet = side_by_side(why)
    assert sheet.shape[0] > why.query.picture.shape[0] + why.hit.picture.shape[0]


def test_a_model_without_patch_tokens_says_how_to_get_them(tmp_path: Path) -> None:
    with OnnxRuntimeEngine(write_bundle(tmp_path / "bundle") / "model.onnx", SPEC, "f", "nano") as engine:
        assert not engine.gives_patches
        with pytest.raises(InvalidRequest, match="--patch-tokens"):
            explain(engine, frames(picture(1)), frames(picture(2)))


def test_a_graph_of_two_outputs_gives_vectors_and_the_tokens_they_are_means_of(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "bundle") / "model.onnx"
    model = onnx.load(path)
    tokens = [node for node in model.graph.node if node.op_type == "ReduceMean"][-1].input[0]
    model.graph.output.append(onnx.helper.make_tensor_value_info(tokens, onnx.TensorProto.FLOAT, [None] * 3))
    onnx.save(model, tmp_path / "two.onnx")
    pixels = noise_pixels(5)
    one = OnnxRuntimeEngine(path, SPEC, "f", "nano", threads=1)
    two = OnnxRuntimeEngine(tmp_path / "two.onnx", SPEC, "f", "nano", threads=1, max_batch=2)
    vectors, patches = two.embed_with_patches(pixels)
    assert np.abs(vectors - one.embed(pixels)).max() < 1e-5 and np.abs(two.embed(pixels) - vectors).max() < 1e-5
    assert patches.shape == (5, SPEC.grid**2, SPEC.dim)
    means = patches.mean(axis=1)
    assert np.abs(means / np.linalg.norm(means, axis=1, keepdims=True) - vectors).max() < 1e-5


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    with served(tmp_path / "data") as client:
        yield client


def overlay(side: dict[str, str]) -> Image.Image:
    head, _, data = side["overlay"].partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_over_http_by_file_and_by_item(client: httpx.Client, tmp_path: Path) -> None:
    assert client.get("/v1/models").json()["data"][0]["explains"] is True
    video = added(client, write_video(tmp_path / "v.mp4", 4))
    frame = tmp_path / "frame.png"
    frame_of(4, 3.0).save(frame)  # of the second of a stored picture
    answer = send(client, frame, EXPLAIN, hit=video, hit_seconds="3.3")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["score"] > 0.95 and np.mean(body["hit"]["grid"]) > 0.9
    assert np.shape(body["query"]["grid"]) == (8, 8)
    assert overlay(body["query"]).width == overlay(body["hit"]).width == 384
    other = client.post(EXPLAIN, json={"item": video, "seconds": 0.5, "hit": video, "hit_seconds": 3.3}).json()
    assert other["score"] < body["score"]


def test_over_http_wrong_requests_are_sentences(client: httpx.Client, tmp_path: Path) -> None:
    hit = added(client, write_image(tmp_path / "a.jpg", 1))
    problem(client.post(EXPLAIN, json={"hit": hit}), 400)
    problem(client.post(EXPLAIN, json={"item": hit, "image": "data:,", "hit": hit}), 400)
    problem(client.post(EXPLAIN, json={"item": "none", "hit": hit}), 404)
    problem(client.post(EXPLAIN, json={"item": hit, "hit": "none"}), 404)
    problem(client.post(EXPLAIN, json={"item": hit, "hit": hit, "seconds": -1}), 422)


def test_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vicmae.export.engine.open_engine", lambda folder, **options: FakeEngine())
    app = typer.Typer()
    cli.register(app)
    film, frame, out = write_video(tmp_path / "v.mp4", 4), tmp_path / "frame.png", tmp_path / "why.png"
    frame_of(4, 3.3).save(frame)
    words = ["explain", str(frame), str(film), "--hit-at", "3.3", "-o"]
    ran = CliRunner().invoke(app, [*words, str(out), "--json"], catch_exceptions=False)
    told = json.loads(ran.stdout)
    assert ran.exit_code == 0 and told["score"] > 0.98 and np.shape(told["hit"]) == (8, 8)
    with Image.open(out) as sheet:
        assert sheet.width == 2 * 384
    with pytest.raises(InvalidRequest, match="expected a file"):
        CliRunner().invoke(app, [*words, str(tmp_path / "why.txt")], catch_exceptions=False)
