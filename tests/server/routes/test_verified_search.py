"""Search over HTTP: what was verified and where it is, regions, and the answer in two events."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from made_media import picture, write_image, write_video
from PIL import Image
from served import SEARCH, added, problem, send, served

from vicmae.server.client import Client
from vicmae.server.events import EVENTS

SIZE = (480, 360)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    with served(folder / "data") as client:
        for seed in range(6):
            added(client, write_image(folder / f"{seed}.png", seed, size=SIZE), id=f"p{seed}")
        added(client, write_video(folder / "film.mp4", 9, seconds=4, size=SIZE), id="film")
        collage = Image.new("RGB", (960, 360))
        collage.paste(picture(2, SIZE), (0, 0))
        collage.paste(picture(4, SIZE), (480, 0))
        collage.save(folder / "collage.png")
        picture(4, SIZE).save(folder / "again.jpg", quality=80)
        yield client


def events(client: httpx.Client, path: Path, **fields: str) -> list[tuple[str, dict[str, Any]]]:
    """The events of a search for the file: (name, data)."""
    with path.open("rb") as file:
        answer = client.post(
            SEARCH, files={"file": (path.name, file)}, data=fields, headers={"accept": f"{EVENTS}, application/json"}
        )
    assert answer.status_code == 200 and answer.headers["content-type"].startswith(EVENTS)
    told = []
    for block in answer.text.strip().split("\n\n"):
        fields_of = dict(line.split(": ", 1) for line in block.splitlines())
        told.append((fields_of["event"], json.loads(fields_of["data"])))
    return told


def test_a_verified_hit_says_where_it_is(client: httpx.Client, folder: Path) -> None:
    answer = send(client, folder / "again.jpg", SEARCH).json()
    best, *others = answer["data"]
    assert answer["found"] is True
    assert (best["id"], best["verified"], best["mirrored"]) == ("p4", True, False) and best["confidence"] > 0.9
    assert np.allclose(best["region"], [(0, 0), (1, 0), (1, 1), (0, 1)], atol=0.05) and len(best["query_region"]) == 4
    assert all(hit["region"] is None and hit["confidence"] < 0.5 for hit in others)


@pytest.mark.parametrize("name", ["verify", "refine"])
def test_vectors_alone_are_asked_by_either_name(client: httpx.Client, folder: Path, name: str) -> None:
    sent = send(client, folder / "again.jpg", SEARCH, **{name: "false"}).json()
    image = f"data:image/jpeg;base64,{base64.b64encode((folder / 'again.jpg').read_bytes()).decode()}"
    posted = client.post(SEARCH, json={"image": image, name: False}).json()
    for answer in (sent, posted):
        assert answer["found"] is None and answer["timing"]["verify_ms"] == 0
        assert all(hit["verified"] is None for hit in answer["data"])


def test_a_region_of_a_picture_is_looked_for(client: httpx.Client, folder: Path) -> None:
    """The left and the right half of a collage, as a form and as JSON; places are told in the whole collage."""
    image = f"data:image/png;base64,{base64.b64encode((folder / 'collage.png').read_bytes()).decode()}"
    for region, item, left in (([0, 0, 0.5, 1], "p2", 0.0), ([0.5, 0, 1, 1], "p4", 0.5)):
        text = ",".join(map(str, region))
        for answer in (
            send(client, folder / "collage.png", SEARCH, region=text).json(),
            client.post(SEARCH, json={"image": image, "region": region}).json(),
        ):
            best = answer["data"][0]
            assert best["id"] == item and best["verified"]
            assert best["query_region"][0][0] == pytest.approx(left, abs=0.03)


@pytest.mark.parametrize("region", ["0,0,1", "a,b,c,d", "0,0,2,1", "0.6,0,0.5,1"])
def test_a_region_that_makes_no_sense_is_refused(client: httpx.Client, folder: Path, region: str) -> None:
    answer = send(client, folder / "collage.png", SEARCH, region=region)
    assert answer.status_code in (400, 422)
    assert "region" in problem(answer, answer.status_code)["detail"]


@pytest.mark.parametrize(("name", "item"), [("again.jpg", "p4"), ("film.mp4", "film")])
def test_an_answer_as_events(client: httpx.Client, folder: Path, name: str, item: str) -> None:
    (first, candidates), (last, verified) = events(client, folder / name)
    assert (first, last) == ("candidates", "verified")
    plain = send(client, folder / name, SEARCH).json()
    assert [hit["id"] for hit in verified["data"]] == [hit["id"] for hit in plain["data"]]
    assert {hit["id"] for hit in candidates["data"]} == {hit["id"] for hit in verified["data"]}
    assert verified["data"][0]["id"] == item and verified["data"][0]["verified"] and verified["found"]


def test_events_without_verification_are_one(client: httpx.Client, folder: Path) -> None:
    ((name, answer),) = events(client, folder / "again.jpg", verify="false")
    assert name == "verified" and answer["found"] is None


def test_what_is_wrong_is_a_problem_also_of_events(client: httpx.Client, folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    with (folder / "broken.png").open("rb") as file:
        answer = client.post(SEARCH, files={"file": file}, headers={"accept": EVENTS})
    problem(answer, 422)
    problem(client.post(SEARCH, json={"item": "none"}, headers={"accept": EVENTS}), 404)
    problem(client.post(SEARCH, json={"itm": "p1"}, headers={"accept": EVENTS}), 422)


def test_the_python_client_asks_for_regions(client: httpx.Client, folder: Path) -> None:
    with Client(str(client.base_url)) as vicmae:
        best = vicmae.search(folder / "collage.png", region=(0.5, 0.0, 1.0, 1.0)).data[0]
        assert best.id == "p4" and best.verified and best.query_region is not None
        alone = vicmae.search(folder / "collage.png", verify=False)
        assert alone.found is None and not any(hit.verified for hit in alone.data)


def test_the_document_names_events_and_fields(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    operation = document["paths"]["/v1/collections/{name}/search"]["post"]
    assert EVENTS in operation["responses"]["200"]["content"]
    assert {"verified", "region", "query_region", "mirrored"} <= set(
        document["components"]["schemas"]["Hit"]["properties"]
    )
    asked = document["components"]["schemas"]["SearchRequest"]["properties"]
    assert {"region", "verify"} <= set(asked) and "refine" not in asked
