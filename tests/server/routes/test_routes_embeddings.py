"""/v1/embeddings: OpenAI's shape and its own client; uploads; one vector whichever way a picture comes."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from made_media import write_gif_bomb, write_image, write_text, write_truncated, write_video
from numpy.typing import NDArray
from openai import NotFoundError, OpenAI
from served import problem, served

URL = "/v1/embeddings"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_image(folder / "a.png", 1)
    write_image(folder / "b.jpg", 2)
    write_video(folder / "c.mp4", seed=3, seconds=3)
    write_text(folder / "text.jpg")
    write_truncated(folder / "cut.jpg", folder / "b.jpg", 0.1)
    write_gif_bomb(folder / "bomb.gif")
    write_video(folder / "long.mp4", seconds=6, fps=5)
    return folder


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with served(tmp_path_factory.mktemp("data"), max_query_seconds=5.0) as client:
        yield client


def data_url(path: Path, mime: str) -> str:
    return f"data:{mime};base64,{base64.b64encode(path.read_bytes()).decode()}"


def from_base64(text: str) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(text), "<f4")


def embed(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = client.post(URL, json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_pictures_and_clips_give_unit_vectors_in_order(client: httpx.Client, folder: Path) -> None:
    inputs = [
        data_url(folder / "a.png", "image/png"),
        data_url(folder / "c.mp4", "video/mp4"),
        data_url(folder / "b.jpg", "image/jpeg"),
    ]
    answer = embed(client, input=inputs, model="fake")
    assert answer["object"] == "list" and answer["model"] == "fake"
    assert [entry["index"] for entry in answer["data"]] == [0, 1, 2]
    assert [entry["kind"] for entry in answer["data"]] == ["image", "video", "image"]
    assert answer["usage"] == {"prompt_tokens": 0, "total_tokens": 0, "images": 2, "frames": 8}
    vectors = np.array([entry["embedding"] for entry in answer["data"]])
    assert vectors.shape == (3, 192)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for entry, single in zip(answer["data"], inputs, strict=True):
        alone = embed(client, input=single)["data"][0]["embedding"]
        np.testing.assert_allclose(alone, entry["embedding"], atol=1e-6)


def test_base64_holds_the_same_numbers(client: httpx.Client, folder: Path) -> None:
    url = data_url(folder / "a.png", "image/png")
    numbers = embed(client, input=url)["data"][0]["embedding"]
    packed = embed(client, input=url, encoding_format="base64")["data"][0]["embedding"]
    np.testing.assert_array_equal(from_base64(packed), np.array(numbers, np.float32))


def test_uploads_give_the_same_vectors_and_their_frames(client: httpx.Client, folder: Path) -> None:
    files = [("file", (name, (folder / name).read_bytes())) for name in ("a.png", "c.mp4")]
    answer = client.post(f"{URL}/upload", files=files, data={"frames": "true"}).json()
    picture, clip = answer["data"]
    expected = embed(client, input=data_url(folder / "a.png", "image/png"))["data"][0]["embedding"]
    np.testing.assert_allclose(picture["embedding"], expected, atol=1e-6)
    assert [frame["start_seconds"] for frame in clip["frames"]] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    mean = np.mean([frame["embedding"] for frame in clip["frames"]], axis=0)
    np.testing.assert_allclose(clip["embedding"], mean / np.linalg.norm(mean), atol=1e-5)
    plain = client.post(f"{URL}/upload", files=files, data={"encoding_format": "base64"}).json()
    assert plain["data"][0]["frames"] is None
    np.testing.assert_allclose(from_base64(plain["data"][1]["embedding"]), clip["embedding"], atol=1e-6)


@pytest.mark.parametrize("place", [0, 27, 39])
@pytest.mark.parametrize(
    ("value", "status", "told"),
    [
        (None, 400, "got null"),
        (7, 400, "got a number"),
        ([1, 2], 400, "got a list"),
        ("a dog on a beach", 400, "not of text"),
        ("data:image/png;base64", 400, "comma"),
        ("data:image/png;base64,%%%", 400, "base64"),
        ("data:image/png;base64,", 422, ""),
        ({"url": "https://example.org/a.jpg"}, 403, "URL input is off"),
        ("text.jpg", 415, ""),
        ("cut.jpg", 422, ""),
        ("bomb.gif", 413, ""),
        ("long.mp4", 413, "max_query_seconds"),
    ],
)
def test_a_broken_input_is_named_by_its_place(
    client: httpx.Client, folder: Path, value: Any, status: int, told: str, place: int
) -> None:
    if isinstance(value, str) and (folder / value).is_file():
        value = data_url(folder / value, "image/jpeg")
    inputs: list[Any] = [data_url(folder / "a.png", "image/png")] * 40
    inputs[place] = value
    answer = problem(client.post(URL, json={"input": inputs}), status)
    assert answer["detail"].startswith(f"input[{place}]: ") and told in answer["detail"]
    assert answer["error"]["param"] == f"input[{place}]" and answer["error"]["message"] == answer["detail"]


@pytest.mark.parametrize(
    ("name", "status"), [("text.jpg", 415), ("cut.jpg", 422), ("bomb.gif", 413), ("long.mp4", 413)]
)
def test_a_broken_upload_is_named_by_its_place(client: httpx.Client, folder: Path, name: str, status: int) -> None:
    names = ["a.png"] * 5 + [name, "a.png"]
    answer = client.post(f"{URL}/upload", files=[("file", (name, (folder / name).read_bytes())) for name in names])
    told = problem(answer, status)
    assert told["detail"].startswith("file[5]: ") and told["error"]["param"] == "file[5]"


def test_a_broken_query_names_its_field(client: httpx.Client) -> None:
    for url in ("search", "explain"):
        body = {"image": "data:image/png;base64,%%%"} | ({"hit": "none"} if url == "explain" else {})
        told = problem(client.post(f"/v1/collections/default/{url}", json=body), 400)
        assert told["detail"].startswith("image: ")


@pytest.mark.parametrize("fields", [{"frames": "perhaps"}, {"encoding_format": "xml"}, {"colour": "red"}])
def test_wrong_upload_fields(client: httpx.Client, folder: Path, fields: dict[str, str]) -> None:
    files = {"file": ("a.png", (folder / "a.png").read_bytes())}
    told = problem(client.post(f"{URL}/upload", files=files, data=fields), 400)
    assert told["error"]["message"] == told["detail"]
    problem(client.post(f"{URL}/upload", files={"x": b""}), 400)


def test_a_long_clip_is_refused_with_a_way_out(client: httpx.Client, tmp_path: Path) -> None:
    long = write_video(tmp_path / "long.mp4", seconds=6, fps=5)
    told = problem(client.post(f"{URL}/upload", files={"file": ("long.mp4", long.read_bytes())}), 413)
    assert "max_query_seconds" in told["detail"]


def test_the_openai_client_works(client: httpx.Client, folder: Path) -> None:
    url = data_url(folder / "a.png", "image/png")
    expected = embed(client, input=url)["data"][0]["embedding"]
    with OpenAI(base_url=f"{client.base_url}".rstrip("/") + "/v1", api_key="none", max_retries=0) as openai:
        assert [model.id for model in openai.models.list().data] == ["fake"]
        by_default = openai.embeddings.create(model="fake", input=[url])
        as_floats = openai.embeddings.create(model="fake", input=url, encoding_format="float", user="me")
        for answer in (by_default, as_floats):
            np.testing.assert_allclose(answer.data[0].embedding, expected, atol=1e-6)
        with pytest.raises(NotFoundError, match="'gpt' is not served here") as raised:
            openai.embeddings.create(model="gpt", input=[url])
        assert raised.value.type == "invalid_request_error"


def test_the_model_says_what_it_is(client: httpx.Client) -> None:
    (model,) = client.get("/v1/models").json()["data"]
    assert model["id"] == "fake" and model["fingerprint"] == "fake-0"
    assert (model["dim"], model["size"]) == (192, 32)
